-- The beginning of every script: the layout of a record, the clock, and the codes of answers.
--
-- A record is one string: the head below, then lease, fingerprint and session as the claim brought them, then the result.
-- It is live until touched + ttl. Times and spans are whole microseconds, which a double holds exactly up to 2^53 (the
-- year 2255), and which the server is given with all their digits.
--
-- Two sorted sets for each shard are its indexes. Members are keys, in the order of time, then of their bytes:
--   flights   entries in flight, at touched;
--   results   those that are done, at touched + ttl.
-- An index may tell of an entry that the server has forgotten by itself, so the record has the last word.
--
-- Making a function costs every run, so there is none here.
local HEAD = '>BI4I8I8I8Bc0' -- status, attempt, created, touched, ttl, holder
local IN_FLIGHT, DONE = 1, 2

-- An answer about an entry begins with one of these. KEPT, OWN and FAILED go on with a string behind its length.
local NO, YES, BEFORE = '0', '1', '2' -- BEFORE: done by the same holder before
local KEPT, OWN = '3', '4'            -- the record of another holder, or of the caller
local LATER = '5'                     -- claimed, with attempt and created
local FAILED, AGAIN = '6', '7'        -- the server's error; or not looked at, for the answer would be too long
local BYTES = 1048576 -- of records go into one answer, unless the first is larger

local call, pcall_, pack, parse, sub = redis.call, redis.pcall, struct.pack, struct.unpack, string.sub

-- The server's clock, unless one is injected.
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end
