"""Indexes for searches over the jobs of all users, and the trace of each job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INDEXES = {
    "jobs_created": ["created_at", "id"],
    "jobs_of_status": ["status", "created_at", "id"],
    "jobs_of_priority": ["priority", "created_at", "id"],
    "jobs_of_error_code": ["error_code", "created_at", "id"],
}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))
    for name, columns in _INDEXES.items():
        op.create_index(name, "jobs", columns, unique=False)


def downgrade() -> None:
    for name in reversed(_INDEXES):
        op.drop_index(name, table_name="jobs")
    op.drop_column("jobs", "traceparent")
