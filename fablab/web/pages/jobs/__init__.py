"""Jobs: from a file to the receipt, as the person who asked for them sees them."""
