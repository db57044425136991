"""Shows and asks: pages, the HTTP API, what slicers speak. Never speaks to a machine and decides nothing about one."""
