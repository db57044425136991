"""Runs migrations on the connection that fablab.database hands over, with every table of ours loaded."""

from alembic import context

from fablab.migrations.metadata import metadata, render_item

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=render_item,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
