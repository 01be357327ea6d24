package postgres

import (
	"embed"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// columns are what an entry is scanned from, in the order of answer.dest.
const columns = "e.key, e.session_id, e.fingerprint, e.status, e.holder_id, e.lease, e.attempt, " +
	"e.result_blob, e.result_raw, e.created_at, e.touched_at, e.expires_at"

// statements are the texts of sql/*.sql for one table.
type statements struct {
	put, putMany, insert, insertMany, done, doneMany, held, touch, touchMany, reset, takeOver string
	find, findMany, stale, list, sweep, sweepFlight, now, watch, lock                         string
}

func newStatements(c *config) statements {
	read := func(name string) string { return render(c, readSQL(sqlFiles, "sql/"+name+".sql")) }
	return statements{
		put: read("put"), putMany: read("putmany"), insert: read("insert"), insertMany: read("insertmany"),
		done: read("done"), doneMany: read("donemany"), held: read("held"), touch: read("touch"), touchMany: read("touchmany"),
		reset: read("reset"), takeOver: read("takeover"), find: read("find"), findMany: read("findmany"),
		stale: read("stale"), list: read("list"), sweep: read("sweep"), sweepFlight: read("sweepflight"),
		now: read("now"), watch: read("watch"), lock: read("lock"),
	}
}

// readSQL reads an embedded file without its comments, which are for people and not for the server's log.
func readSQL(files embed.FS, name string) string {
	text, err := files.ReadFile(name)
	if err != nil { // the name is a literal of this package
		panic(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "--")
		if line = strings.TrimRight(line, " \n"); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

var names = regexp.MustCompile(`\bidempotency_(columns|entry)(_\w+)?\b`)

// render puts the configured names in the place of the default ones. Indexes and constraints are named without their schema,
// which is the table's.
func render(c *config, text string) string {
	return names.ReplaceAllStringFunc(text, func(name string) string {
		suffix := strings.TrimPrefix(name, DefaultTable)
		switch {
		case name == "idempotency_columns":
			return columns
		case suffix == "" || suffix == "_migration":
			return c.qualified(suffix)
		default:
			return pgx.Identifier{c.table + suffix}.Sanitize()
		}
	})
}

// qualified returns the quoted name of the table, or of one that goes with it.
func (c *config) qualified(suffix string) string {
	if c.schema == "" {
		return pgx.Identifier{c.table + suffix}.Sanitize()
	}
	return pgx.Identifier{c.schema, c.table + suffix}.Sanitize()
}

// Statement returns the text of a statement as the store sends it: "put" is sql/put.sql with the configured names, and so
// on. It is for those who look at plans; arguments may change from version to version.
func Statement(name string, opts ...Option) (string, error) {
	c, err := newConfig(opts)
	if err != nil {
		return "", err
	}
	file := "sql/" + name + ".sql"
	if _, err := sqlFiles.Open(file); err != nil {
		return "", invalid("no statement of this name")
	}
	return render(&c, readSQL(sqlFiles, file)), nil
}
