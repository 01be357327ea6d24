-- TakeOver (clause 3.6).
-- KEYS: the entry, its index.
-- ARGV: clock, expected holder, cutoff (us, or empty), new holder, ttl (us), life of the key (ms), the record after its
-- head, command to tell by.
-- Answers like put.lua, or 3 and now where nothing is live.
local entry, index, holder, ttl = KEYS[1], KEYS[2], ARGV[4], tonumber(ARGV[5])
local now = clock(ARGV[1])
local old = redis.call('GET', entry)
if not old then
  return struct.pack('>BI8', 3, now)
end
local status, attempt, made, touched, expires, _, by = struct.unpack(HEAD, old)
if now >= expires then
  return struct.pack('>BI8', 3, now)
end
if status == IN_FLIGHT and by == holder then
  return struct.pack('>BI8', 2, now) .. old
end
if status ~= IN_FLIGHT or by ~= ARGV[2] or (ARGV[3] ~= '' and touched >= tonumber(ARGV[3])) then
  return struct.pack('>BI8', 0, now) .. old
end
local key = string.sub(entry, #index + 1)
local created = math.max(now, made + 1)
attempt, expires = attempt + 1, created + ttl
redis.call('SET', entry, struct.pack(HEAD, IN_FLIGHT, attempt, created, created, expires, ttl, #holder, holder) .. ARGV[7], 'PX', ARGV[6])
redis.call('ZADD', index, digits(expires), 'x' .. key, digits(created - FLIGHT), 'f' .. key)
tell(ARGV[8], entry)
return struct.pack('>BI8I4I8', 1, now, attempt, created)
