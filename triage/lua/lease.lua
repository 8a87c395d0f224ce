-- waiting -> leased, best score first; passes over what this reviewer skipped.
-- KEYS waiting, leases   ARGV item key prefix, reviewer, count, lease ms, nonce, scan limit, ids to choose from...
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, found = tonumber(ARGV[3]), {}
local candidates = {}
if #ARGV > 6 then
  for i = 7, #ARGV do candidates[#candidates + 1] = ARGV[i] end
else
  candidates = redis.call('ZRANGE', KEYS[1], 0, ARGV[6] - 1)
end
for _, id in ipairs(candidates) do
  if #found >= count then break end
  local key = ARGV[1] .. id
  local item = redis.call('HMGET', key, 'state', 'skipped', 'body', 'retry')
  local skipped = item[2] and string.find(item[2], '\0' .. ARGV[2] .. '\0', 1, true)
  if item[1] == 'waiting' and not skipped then
    local fence = redis.call('HINCRBY', key, 'fence', 1)
    redis.call('HSET', key, 'state', 'leased', 'token', fence .. '~' .. ARGV[5], 'reviewer', ARGV[2], 'leased', now)
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], now + ARGV[4], id)
    found[#found + 1] = {id, fence, item[3], item[4] or ''}
  end
end
return {now, found}
