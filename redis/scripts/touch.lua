-- Touch (clause 3.4).
-- KEYS: the entry, its index.
-- ARGV: clock, holder, what the key lives longer than its entry (ms).
-- Answers 1 or 0.
local entry, index = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
local old = redis.call('GET', entry)
if not old then
  return '0'
end
local status, attempt, created, touched, expires, ttl, holder, rest = struct.unpack(HEAD, old)
if now >= expires or status ~= IN_FLIGHT or holder ~= ARGV[2] then
  return '0'
end
touched = math.max(touched, now)
expires = touched + ttl
local head = struct.pack(HEAD, IN_FLIGHT, attempt, created, touched, expires, ttl, #holder, holder)
redis.call('SET', entry, head .. string.sub(old, rest), 'PX', digits(math.ceil(ttl / 1000) + ARGV[3]))
local key = string.sub(entry, #index + 1)
redis.call('ZADD', index, digits(expires), 'x' .. key, digits(touched - FLIGHT), 'f' .. key)
return '1'
