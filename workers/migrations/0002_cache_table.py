from django.core.management import call_command
from django.db import migrations

TABLE = "workers_cache"


def create(apps, schema_editor):
    call_command("createcachetable", TABLE, database=schema_editor.connection.alias, verbosity=0)


def drop(apps, schema_editor):
    schema_editor.execute(f"DROP TABLE IF EXISTS {schema_editor.quote_name(TABLE)}")


class Migration(migrations.Migration):
    """The table of the cache `workers`, which all processes share when there is no Redis."""

    dependencies = [("workers", "0001_flags_and_transactions")]

    operations = [migrations.RunPython(create, drop)]
