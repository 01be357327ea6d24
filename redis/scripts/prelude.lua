-- The beginning of every script: the layout of a record, and what several scripts do.
--
-- A record is one string: the head below, then lease, fingerprint and session as the claim brought them, then the result.
-- Times and spans are whole microseconds, which a double holds exactly up to 2^53 (the year 2255).
--
-- The index is one sorted set for each shard with up to two members for an entry, so that a claim is one ZADD:
--   'x' .. key   at expires, for every entry;
--   'f' .. key   at touched - FLIGHT, below zero, for one that is in flight.
-- Both have the order of time, then of the key's bytes. An entry is stored under the name of its index followed by its key.
local HEAD = '>BI4I8I8I8I8Bc0' -- status, attempt, created, touched, expires, ttl, holder
local IN_FLIGHT, DONE = 1, 2
local FLIGHT = 9007199254740992

-- The server's clock, unless one is injected.
local function clock(injected)
  if injected ~= '' then
    return tonumber(injected)
  end
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- An integer with all its digits.
local function digits(n)
  return string.format('%.0f', n)
end

-- Tells those who watch the entry. It comes after the change, so it must not fail: a server that forbids it is found out
-- when the store is made.
local function tell(command, entry)
  if command ~= '' then
    redis.pcall(command, entry, '')
  end
end

-- Drops at most so many entries that were dead at that time, and returns how many, or the error that kept it.
local function bury(index, at, most)
  local dead = redis.call('ZRANGEBYSCORE', index, 0, digits(at), 'LIMIT', 0, most)
  if #dead == 0 then
    return 0
  end
  local entries, members = {}, {}
  for i, member in ipairs(dead) do
    local key = string.sub(member, 2)
    entries[i] = index .. key
    members[2 * i - 1], members[2 * i] = member, 'f' .. key
  end
  local gone = redis.pcall('UNLINK', unpack(entries))
  if type(gone) == 'table' then
    return gone
  end
  redis.call('ZREM', index, unpack(members))
  return #dead
end
