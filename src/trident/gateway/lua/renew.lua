-- Who runs goes on holding. KEYS: clock, a limit of concurrent requests. ARGV: wall, lease in ms, holders.
local now = advance(KEYS[1], ARGV[1])
local lease = tonumber(ARGV[2])
for i = 3, #ARGV do
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), ARGV[i])
end
redis.call('PEXPIRE', KEYS[2], 2 * lease)
return 0
