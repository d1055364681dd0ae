"""Alembic migrations, applied by `Database.migrate`. Never edited after a release."""
