-- @include args
--[[
  Defines `fields`: what the caller wants written into the job's hash, by name.
]]

local fields = {}
for i = first_field, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
