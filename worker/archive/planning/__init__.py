"""Pure planning: members, layout, parts, the archive plan and its id."""
