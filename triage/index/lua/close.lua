-- any state -> resolved, withdrawn or unresolved, because the journal says so; publishes once, if it is to. A first answer is
-- never overwritten but by a later one of the model's own, whose case was decided anew; a person's word stands over the model's,
-- the model's over nobody's.
-- ARGV now, id, terminal state, outcome or '', retention s, payload or '', who answered or '', when, ms, revision
local id, after = ARGV[2], ARGV[3]
local rank = {unresolved = 1, withdrawn = 2, resolved = 3}
local item = fields(id, 's', 'l', 'i', 'k', 'c', 'r', 'm')
local announced = after == 'unresolved' and redis.call('HDEL', Q .. 'ending', id) == 1
local again = after == 'withdrawn' and item.s == after and item.m and tonumber(ARGV[9]) > tonumber(item.m)
if (rank[item.s] or 0) >= rank[after] and not announced and not again then return 0 end
if item.s == 'answering' and after ~= 'resolved' then return 0 end  -- a person answered first; the sweeper sees to it
if item.s and not rank[item.s] then retire(id, item) end
redis.call('HDEL', Q .. 'ending', id)
redis.call('HSET', item_key(id), 's', after)
if after == 'withdrawn' then
  redis.call('HSET', item_key(id), 'm', ARGV[9])
else
  redis.call('HDEL', item_key(id), 'm')
end
if ARGV[6] ~= '' then redis.call('HSET', item_key(id), 'y', ARGV[6]) end
redis.call('HDEL', item_key(id), 'v', 'p', 'k', 'i', 'c', 'r', 'x', 'l', 'f', 't', 'e', 'h', 'n', 'd', 'u')
redis.call('DEL', Q .. 'body:' .. id, Q .. 'retry:' .. id)
redis.call('EXPIRE', item_key(id), ARGV[5])
if after == 'resolved' and ARGV[7] ~= '' then
  local at, day, hour = tonumber(ARGV[8]), 86400000, 3600000
  if at > now - 2 * day then
    local did = Q .. 'did:' .. ARGV[7]
    redis.call('ZADD', did, at, id)
    redis.call('ZREMRANGEBYSCORE', did, '-inf', now - 2 * day)
    redis.call('EXPIRE', did, 172800)
  end
  if at > now - hour then
    local rate = Q .. 'rate:' .. math.floor(at / hour)
    redis.call('HINCRBY', rate, math.floor(at % hour / 60000), 1)
    redis.call('EXPIRE', rate, 7200)
  end
end
if ARGV[4] ~= '' then
  redis.call('XADD', Q .. 'outcomes', 'MINID', '~', math.max(0, math.floor(now - ARGV[5] * 1000)), '*', 'outcome', ARGV[4])
end
return 1
