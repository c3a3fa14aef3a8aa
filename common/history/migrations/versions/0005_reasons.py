"""Why a job was returned to the queue or who changed it, and why a file failed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("changes", sa.Column("reason", sa.Text()))
    op.add_column("files", sa.Column("error", sa.Text()))


def downgrade() -> None:
    op.drop_column("files", "error")
    op.drop_column("changes", "reason")
