-- @include base
--[[
  Lets a script write although `maxmemory` is reached. The server decides that at a script's first
  write: one that cannot take memory, such as a removal, is allowed, and then so are all others.
  Scripts that end a job, or lead to that, have to work then: they are what frees memory.
]]

redis.call('ZREM', key.leases(), '')
