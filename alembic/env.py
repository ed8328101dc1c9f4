"""Runs the migrations on the connection that the program hands over, inside its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    render_as_batch=True,
    # The caller's BEGIN IMMEDIATE holds all of it: a failed migration must leave nothing half done.
    transactional_ddl=False,
)
context.run_migrations()
