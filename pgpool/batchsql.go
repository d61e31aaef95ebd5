package pgpool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

func (b *batch) insertSQL(source string) string {
	sql := "insert into " + b.table.Sanitize() + " (" + b.columnList() + ") " + source
	var target string
	if len(b.keys) > 0 {
		target = " (" + quoteList(b.keys) + ")"
	}
	switch b.conflict {
	case "nothing":
		sql += " on conflict" + target + " do nothing"
	case "update":
		var sets []string
		for _, c := range b.columns {
			if !slices.Contains(b.keys, c) {
				sets = append(sets, quote(c)+" = excluded."+quote(c))
			}
		}
		if len(sets) == 0 {
			sql += " on conflict" + target + " do nothing"
		} else {
			sql += " on conflict" + target + " do update set " + strings.Join(sets, ", ")
		}
	}
	if b.collect != nil {
		sql += " returning " + quoteList(b.returning)
	}
	return sql
}

func (b *batch) placeholders() string {
	var s strings.Builder
	s.WriteString("values (")
	for i := range b.columns {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "$%d", i+1)
	}
	s.WriteByte(')')
	return s.String()
}

func (b *batch) columnList() string { return quoteList(b.columns) }

// ordered reports whether the rows must be inserted in an order that the server is
// told, by their numbers. Otherwise it is that of a scan of the temporary table: an
// unshared heap, filled from front to back and read so, by one process. To sort
// would take an eighth of the time.
func (b *batch) ordered() bool { return b.collect != nil || b.conflict == "update" }

// stageSQL makes the temporary table.
func (b *batch) stageSQL(stage pgx.Identifier) string {
	list := make([]string, len(b.columns), len(b.columns)+1)
	for i, name := range b.columns {
		list[i] = quote(name)
		if b.asText[name] != "" {
			list[i] = "null::text as " + list[i]
		}
	}
	if b.ordered() {
		list = append(list, "0::bigint as pgpool_row")
	}
	return "create temporary table " + stage.Sanitize() + " using heap on commit drop as select " + strings.Join(list, ", ") +
		" from " + b.table.Sanitize() + " with no data"
}

// cast is columns of the temporary table, as the table has them.
func (b *batch) cast(columns []string) string {
	list := make([]string, len(columns))
	for i, name := range columns {
		list[i] = quote(name)
		if typ := b.asText[name]; typ != "" {
			list[i] += "::" + typ
		}
	}
	return strings.Join(list, ", ")
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func quoteList(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = quote(name)
	}
	return strings.Join(list, ", ")
}

// source selects from the temporary table, without rows whose key comes again.
func (b *batch) source(stage pgx.Identifier) string {
	columns := "select " + b.cast(b.columns) + " from "
	switch {
	case !b.ordered():
		return columns + stage.Sanitize()
	case b.conflict != "update" || slices.ContainsFunc(b.keys, func(key string) bool { return !slices.Contains(b.columns, key) }):
		return columns + stage.Sanitize() + " order by pgpool_row" // of a default nobody knows whether it is the same in each row
	}
	// NULL is equal to nothing, for most unique constraints.
	unequal := "num_nulls(" + quoteList(b.keys) + ") > 0 and not " + b.nullsNotDistinct()
	distinct := b.cast(b.keys) + ", pgpool_null"
	return columns + "(select distinct on (" + distinct + ") * from (select *, case when " + unequal + " then pgpool_row end as pgpool_null from " +
		stage.Sanitize() + ") s order by " + distinct + ", pgpool_row desc) s order by pgpool_row"
}

// nullsNotDistinct asks whether the unique index over the keys takes NULLs for
// equal. PostgreSQL before 15 has neither that nor the column.
func (b *batch) nullsNotDistinct() string {
	keys := slices.Sorted(slices.Values(b.keys))
	for i := range keys {
		keys[i] = literal(keys[i])
	}
	return `exists (select from pg_index i where i.indrelid = ` + literal(b.table.Sanitize()) + `::regclass
		and i.indisunique and (to_jsonb(i)->>'indnullsnotdistinct')::boolean
		and (select array_agg(a.attname::text order by a.attname::text collate "C") from pg_attribute a
			where a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])) = array[` + strings.Join(slices.Compact(keys), ", ") + `])`
}

// literal writes a string so that no setting of the server changes what it means.
func literal(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}
