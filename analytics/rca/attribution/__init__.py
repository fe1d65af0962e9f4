"""Which combination of dimension values explains a change."""
