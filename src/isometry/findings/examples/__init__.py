"""One program a rule, on which it fires: what `isometry explain` shows. `isometry check FILE:build` runs one."""
