-- What a queue looks like. ARGV now, service level ms or ''
-- Gives now, waiting, leased, dead, overdue, received ms of the oldest unanswered or '', reasons and counts, answers in the last hour.
local waiting = 0
for _, set in ipairs({'sites', 'lanes'}) do
  for _, lane in ipairs(redis.call('SMEMBERS', Q .. set)) do waiting = waiting + redis.call('ZCARD', lane_key(lane)) end
end
local oldest
for _, set in ipairs({'due', 'kept'}) do
  local first = tonumber(redis.call('ZRANGE', Q .. set, 0, 0, 'WITHSCORES')[2])
  if first and (not oldest or first < oldest) then oldest = first end
end
local overdue = ARGV[2] ~= '' and redis.call('ZCOUNT', Q .. 'due', '-inf', now - ARGV[2]) or 0
local hour, minute, answered = math.floor(now / 3600000), math.floor(now % 3600000 / 60000), 0
local function count(of_hour, from, to)
  local counts = redis.call('HGETALL', Q .. 'rate:' .. of_hour)
  for at = 1, #counts, 2 do
    local when = tonumber(counts[at])
    if when >= from and when <= to then answered = answered + tonumber(counts[at + 1]) end
  end
end
count(hour, 0, minute)
count(hour - 1, minute + 1, 59)
return {
  now, waiting, redis.call('ZCARD', Q .. 'leases'), redis.call('ZCARD', Q .. 'dead'), overdue,
  oldest and string.format('%.3f', oldest) or '', redis.call('HGETALL', Q .. 'reasons'), answered,
}
