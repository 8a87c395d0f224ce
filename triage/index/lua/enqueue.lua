-- nothing -> waiting. An item that is known in any state stays as it is, so that the journal can be replayed; only a later
-- revision, decided after the model came back, replaces what reviewers see and its place.
-- ARGV now, id, place, body or '', retry record or '', revision, x or '', site, case or '', reasons, kind, received ms, stray
local id, place, body, retry, revision = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local known = redis.call('EXISTS', item_key(id)) == 1
local item = known and fields(id, 's', 'v', 'p', 'r', 'd', 'u', 'l', 'i') or {}
if item.s and (not item.v or tonumber(revision) <= tonumber(item.v)) then return 0 end
local function keep(name, content)
  if content ~= '' then redis.call('SET', Q .. name .. id, content) elseif known then redis.call('DEL', Q .. name .. id) end
end
keep('body:', body)
keep('retry:', retry)
if retry ~= '' then redis.call('SADD', Q .. 'retry', id) elseif known then redis.call('SREM', Q .. 'retry', id) end
redis.call('HSET', item_key(id), 'v', revision, 'p', place, 'r', ARGV[10])
count_reasons(ARGV[10], 1)
if item.s then
  count_reasons(item.r, -1)
  if item.s == 'waiting' then redis.call('ZADD', lane_key(item.l or item.i .. '\0'), 'XX', place, id) end
  return 0
end
redis.call('HSET', item_key(id), 'i', ARGV[8], 'k', ARGV[11])
if known then redis.call('PERSIST', item_key(id)) end
redis.call('ZADD', Q .. (ARGV[11] == 'e' and 'kept' or 'due'), ARGV[12], id)
if ARGV[9] ~= '' then
  redis.call('HSET', item_key(id), 'c', ARGV[9])
  redis.call('ZADD', Q .. 'by_case', 0, ARGV[8] .. '/' .. ARGV[9] .. '\0' .. id)
end
if ARGV[7] ~= '' then redis.call('HSET', item_key(id), 'x', ARGV[7]) end
if tonumber(item.d or 0) > tonumber(item.u or 0) then
  redis.call('HSET', item_key(id), 's', 'dead')
  redis.call('ZADD', Q .. 'dead', now, id)
else
  wait(id, place, ARGV[8], ARGV[7] ~= '' and ARGV[7])
end
return 1
