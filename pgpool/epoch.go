package pgpool

// epochSQL names the life of a server: its cluster, its timeline (which changes
// when a replica is promoted) and the birth of its statistics, which survives a
// clean restart and ends with a crash.
//
// PostgreSQL hands out transaction ids again after a crash if they had not
// reached the disk. The status of an id therefore tells something about our
// transaction only if the epoch is still the same.
const epochSQL = `(select system_identifier from pg_control_system())::text || '/' ||
case when pg_is_in_recovery() then 'standby' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end || '/' ||
coalesce((select extract(epoch from stats_reset) from pg_stat_bgwriter)::text, '')`

// What a transaction asks for in the round trip of its BEGIN. The epoch of a
// connection does not change, as a crash ends all connections; behind a
// transaction pooler it is asked for each time.
const (
	xidSQL      = "select pg_current_xact_id()::text"
	xidEpochSQL = "select pg_current_xact_id()::text, " + epochSQL
)
