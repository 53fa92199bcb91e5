"""Entries are signed from now on. Those before were not, so no key could vouch for them: the log starts anew.

On SQLite a trigger refuses INSERT OR REPLACE too, which removes the row that stood there without a DELETE.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations, models

append_only = import_module("dashboard.migrations.0002_audit_append_only")
TABLE, WORDS = append_only.TABLE, append_only.WORDS
SAME = "id = NEW.id OR hash = NEW.hash OR previous_hash = NEW.previous_hash"
REPLACE = (
    f"CREATE TRIGGER {TABLE}_no_replace BEFORE INSERT ON {TABLE} WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE {SAME}) "
    f"BEGIN SELECT RAISE(ABORT, '{WORDS}'); END"
)
REPLACE_OFF = f"DROP TRIGGER IF EXISTS {TABLE}_no_replace"


def guard(apps, schema_editor):
    append_only.guard(apps, schema_editor)
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(REPLACE)


def unguard(apps, schema_editor):
    append_only.unguard(apps, schema_editor)
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(REPLACE_OFF)


def start_anew(apps, schema_editor):
    unguard(apps, schema_editor)
    verb = "TRUNCATE" if schema_editor.connection.vendor == "postgresql" else "DELETE FROM"
    schema_editor.execute(f"{verb} {TABLE}")


class Migration(migrations.Migration):
    dependencies = [("dashboard", "0002_audit_append_only")]
    operations = [
        migrations.RunPython(start_anew, append_only.guard),
        migrations.AlterField(
            model_name="auditentry",
            name="workflow_id",
            field=models.CharField(blank=True, db_index=True, max_length=1000),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="phase",
            field=models.CharField(
                choices=[("intent", "Intent"), ("outcome", "Outcome"), ("event", "Event")], max_length=10
            ),
        ),
        migrations.RunPython(guard, unguard),
    ]
