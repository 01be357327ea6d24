-- Says that a shard is watched. While nobody does, changes are not told, and that is most of what telling costs.
-- KEYS: the mark. ARGV: clock, for how long (ms).
call('SET', KEYS[1], '', 'PX', ARGV[2])
return ''
