"""Orders carry their tenant. Those that are there get it from their workflow id: `<tenant>~order-<id>`, without
a tenant for the platform's own."""

from django.db import migrations, models


def _fill(apps, schema_editor):
    order_model = apps.get_model("orders", "Order")
    found = order_model.objects.filter(workflow_id__contains="~").only("pk", "workflow_id")
    for order in found.iterator(chunk_size=1000):
        order_model.objects.filter(pk=order.pk).update(tenant=order.workflow_id.partition("~")[0])


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="tenant",
            field=models.CharField(default="default", max_length=60),
            preserve_default=False,
        ),
        migrations.RunPython(_fill, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="order", name="order_id", field=models.CharField(max_length=60)
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["tenant", "-created_at"], name="orders_of_a_tenant"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("tenant", "order_id"), name="one_order_for_an_id_of_a_tenant"
            ),
        ),
    ]
