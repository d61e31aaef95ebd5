package pgpool

import (
	"slices"
	"strings"
)

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

// recoveredSQL tells the first transaction id given out after a crash, as long
// as the checkpoint at the end of the recovery is the latest: one that nothing
// was logged beside (which takes wal_level replica to be told from others),
// made by this postmaster, as the one of a clean shutdown is not.
const recoveredSQL = `(select (split_part(next_xid, ':', 1)::numeric * 4294967296 + split_part(next_xid, ':', 2)::numeric)::text
from pg_control_checkpoint() where checkpoint_lsn = redo_lsn and checkpoint_time >= date_trunc('second', pg_postmaster_start_time())
and current_setting('wal_level') <> 'minimal')`

// saw notes the life of the server that an answer came from.
func (n *node) saw(epoch string) {
	n.epochs.Lock()
	defer n.epochs.Unlock()
	if l := len(n.epochs.seen); l == 0 || n.epochs.seen[l-1] != epoch {
		n.epochs.seen = append(n.epochs.seen, epoch)
	}
}

// follows reports whether life b came right after life a, on the same timeline
// of the same cluster, as far as the pool saw.
func (n *node) follows(a, b string) bool {
	n.epochs.Lock()
	defer n.epochs.Unlock()
	if i := strings.LastIndexByte(a, '/'); i < 0 || !strings.HasPrefix(b, a[:i+1]) {
		return false
	}
	at := slices.Index(n.epochs.seen, a)
	return at >= 0 && at+1 < len(n.epochs.seen) && n.epochs.seen[at+1] == b
}

// What a transaction asks for in the round trip of its BEGIN. The epoch of a
// connection does not change, as a crash ends all connections; behind a
// transaction pooler it is asked for each time.
const (
	xidSQL      = "select pg_current_xact_id()::text"
	xidEpochSQL = "select pg_current_xact_id()::text, " + epochSQL
)
