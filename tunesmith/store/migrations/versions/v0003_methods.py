"""Jobs have a method."""

import sqlalchemy as sa
from alembic import op

revision = "v0003_methods"
down_revision = "v0002_projects"


def upgrade() -> None:
    supervised = sa.Column("method", sa.Text(), nullable=False, server_default="supervised")
    op.add_column("jobs", supervised)
