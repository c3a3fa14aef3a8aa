"""Indexes for searches over the jobs of all users, and the trace of each job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INDEXES = {
    "jobs_created": ["created_at", "id"],
    "jobs_of_user": ["owner", "created_at", "id", "status", "priority", "error_code"],
    "jobs_of_status": ["status", "created_at", "id", "priority", "error_code"],
    "jobs_of_priority": ["priority", "created_at", "id", "error_code"],
    "jobs_of_error_code": ["error_code", "created_at", "id", "status", "priority"],
}


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))
    for name, columns in _INDEXES.items():
        op.create_index(name, "jobs", columns, unique=False)
    # jobs_of_user begins with the same columns.
    op.drop_index("jobs_of_owner", table_name="jobs")


def downgrade() -> None:
    op.create_index("jobs_of_owner", "jobs", ["owner", "created_at", "id"], unique=False)
    for name in reversed(_INDEXES):
        op.drop_index(name, table_name="jobs")
    op.drop_column("jobs", "traceparent")
