-- @include base
--[[
  Defines `args`: the arguments by name; those that are None are missing.

  Input:
    ARGV     the number of named arguments, their names and values, then the names and values of
             fields for the job's hash, from first_field on
]]

-- A local variable is read faster than a global one.
local ARGV = ARGV
local args = {}
local first_field = ARGV[1] * 2 + 2
for i = 2, first_field - 1, 2 do args[ARGV[i]] = ARGV[i + 1] end
