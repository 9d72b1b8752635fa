"""Run by Alembic for every command: over the connection that the caller gives."""

from collections.abc import Iterable
from typing import Any

from alembic import context
from alembic.operations.ops import CreateTableOp

from vitrina.storage.declared import metadata


def _leave_out_declarations(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """What a table holds is said where it is declared; a version says only how it is made."""

    def clean(operations: Iterable[Any]) -> None:
        for operation in operations:
            if isinstance(operation, CreateTableOp):
                operation.info.clear()
                operation.kw.pop("info", None)
            clean(getattr(operation, "ops", ()))

    for directive in directives:
        for side in (*directive.upgrade_ops_list, *directive.downgrade_ops_list):
            clean(side.ops)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
    process_revision_directives=_leave_out_declarations,
)
with context.begin_transaction():
    context.run_migrations()
