-- @include args
-- @include full_memory
-- @include archive
--[[
  Erases a finished job of a user: its hash, request, reports, links, webhooks and emails. A worker
  deletes the archive, unless other jobs need it. What a running attempt has uploaded is left to the cleanup.

  Input:
    KEYS[1]  the job's status
    args     id, user, terminal (states)
  Output:
    {'ERASED', number of jobs, links and archives}, also if there is no such job
    {'UNFINISHED'}  it has to be cancelled first
  Event:
    none
]]

local id = args.id
local job = load_job(id)
if job and job.user ~= args.user then return {'ERASED', '0', '0', '0'} end
if job and not contains(args.terminal, job.status) then return {'UNFINISHED'} end

local archives = job and (job.artifact or '') ~= '' and 1 or 0
if archives == 1 then schedule_removal(job) end
local links = redis.call('SMEMBERS', key.links(id))
for _, digest in ipairs(links) do redis.call('DEL', key.link(digest)) end
for _, kind in ipairs({'webhook', 'email'}) do
  for _, version in ipairs(redis.call('ZRANGE', key.deliveries(kind, id), 0, -1)) do
    redis.call('DEL', key.delivery(kind, id, version), key.delivery_log(kind, id, version),
      key.delivery_exchanges(kind, id, version))
    redis.call('ZREM', key.deliveries_due(kind), id .. ':' .. version)
    redis.call('ZREM', key.user_deliveries(kind, args.user), id .. ':' .. version)
  end
  redis.call('DEL', key.deliveries(kind, id))
end
for _, name in ipairs({
  key.user_jobs(args.user), key.dead_letters(), key.failures(), key.expiring()}) do
  redis.call('ZREM', name, id)
end
redis.call('DEL', key.status(id), key.spec(id), key.files(id), key.attempts(id), key.links(id))
return {'ERASED', job and '1' or '0', to_text(#links), to_text(archives)}
