"""Usage per user and day, and the users whose jobs were erased."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

#: The usage until now, of the jobs that history still has.
_PAST = """
INSERT INTO usage (owner, day, jobs, completed, failed, cancelled, bytes)
SELECT jobs.owner,
       (changes.at AT TIME ZONE 'UTC')::date,
       count(*) FILTER (WHERE changes.version = 1),
       count(*) FILTER (WHERE changes.status = 'completed'),
       count(*) FILTER (WHERE changes.status = 'failed'),
       count(*) FILTER (WHERE changes.status = 'cancelled'),
       coalesce(sum(changes.bytes) FILTER (WHERE changes.status = 'completed'), 0)
FROM changes JOIN jobs ON jobs.id = changes.job_id
WHERE changes.version = 1 OR changes.status IN ('completed', 'failed', 'cancelled')
GROUP BY 1, 2
"""


def upgrade() -> None:
    op.create_table(
        "usage",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "day"),
    )
    op.create_index("usage_of_day", "usage", ["day", "owner"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("owner_digest", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner_digest"),
    )
    op.execute(_PAST)


def downgrade() -> None:
    op.drop_table("erasures")
    op.drop_index("usage_of_day", table_name="usage")
    op.drop_table("usage")
