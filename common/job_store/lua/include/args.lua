-- @include base
--[[
  The arguments by name; those that are None are missing.

  Input:
    ARGV     the number of named arguments, their names and values, then the names and values of
             fields for the job's hash, from first_field on

  Defines: args, first_field, contains(list, item)
]]

-- A local variable is read faster than a global one.
local ARGV = ARGV
local args = {}
local first_field = ARGV[1] * 2 + 2
for i = 2, first_field - 1, 2 do args[ARGV[i]] = ARGV[i + 1] end

-- Whether a comma-separated list contains an item. `args.allowed` is such a list: the states that
-- common/jobs/transitions.py allows as a source of the transition.
local function contains(list, item)
  return string.find(',' .. list .. ',', ',' .. item .. ',', 1, true) ~= nil
end
