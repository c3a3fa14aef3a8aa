"""Counted downloads, and their number in each job."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("downloads", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_table(
        "downloads",
        sa.Column("job_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("link_id", sa.Text()),
        sa.Column("network", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "entry"),
    )


def downgrade() -> None:
    op.drop_table("downloads")
    op.drop_column("jobs", "downloads")
