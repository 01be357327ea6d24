-- PutIfAbsent (clause 3.1).
-- KEYS: the entry, its index.
-- ARGV: clock, status, holder, ttl (us), life of the key (ms), the record after its head, dead to drop, command to tell by.
-- Answers 1, now, attempt and created of the new entry; or 0 (another's) or 2 (the caller's own), now, and the live record.
local entry, index, status, holder, ttl = KEYS[1], KEYS[2], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local now = clock(ARGV[1])
local created = now
local old = redis.call('GET', entry)
if old then
  local was, _, made, _, expires, _, by = struct.unpack(HEAD, old)
  if now < expires then
    local own = holder ~= '' and by == holder and was == status
    return struct.pack('>BI8', own and 2 or 0, now) .. old
  end
  created = math.max(now, made + 1)
end
local key = string.sub(entry, #index + 1)
local expires = created + ttl
redis.call('SET', entry, struct.pack(HEAD, status, 1, created, created, expires, ttl, #holder, holder) .. ARGV[6], 'PX', ARGV[5])
if status == IN_FLIGHT then
  redis.call('ZADD', index, digits(expires), 'x' .. key, digits(created - FLIGHT), 'f' .. key)
else
  redis.call('ZADD', index, digits(expires), 'x' .. key)
  if old then
    redis.call('ZREM', index, 'f' .. key)
  end
end
if ARGV[7] ~= '0' then
  bury(index, now, ARGV[7])
end
tell(ARGV[8], entry)
return struct.pack('>BI8I4I8', 1, now, 1, created)
