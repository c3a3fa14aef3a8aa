"""Alembic runs this inside the connection and transaction of ``common.history.migrate``."""

from alembic import context

from common.history.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
