package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/calendar/ics"
)

// maxScheduleBytes bounds a schedules file: ten thousand schedules fit.
const maxScheduleBytes = 2 << 20

// maxScheduleDepth bounds nesting, far above the language's five levels: the
// YAML parser's time grows with its square.
const maxScheduleDepth = 32

// ParseSchedules reads a schedules file: YAML, or JSON, of the form
//
//	schedules:
//	  - name: shelf
//	    select: "site=store-*"
//	    every: 5m
//
// Unknown keys are refused with their line and column, names must differ, and
// every schedule must compile. Calendars under exclude are given as text, and
// read for the present year and those around it.
func ParseSchedules(data []byte) ([]calendar.Spec, error) {
	return ScheduleReader{Now: time.Now()}.Parse(data)
}

// ScheduleReader is ParseSchedules with what it takes from outside its text.
type ScheduleReader struct {
	Now  time.Time                         // the year around which calendars are read
	Open func(name string) ([]byte, error) // reads a calendar that exclude names; nil refuses names
}

// Parse reads a schedules file as ParseSchedules does.
func (r ScheduleReader) Parse(data []byte) ([]calendar.Spec, error) {
	if len(data) > maxScheduleBytes {
		return nil, fmt.Errorf("schedules: %d bytes long, want at most %d: split the file", len(data), maxScheduleBytes)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("schedules: the file is empty: want a list under the key schedules")
	}
	if err := checkNesting(data); err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	var file scheduleFile
	lines, err := decodeYAML(data, &file)
	if err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	if len(file.Schedules) == 0 {
		return nil, errors.New("schedules: none in the file: want a list under the key schedules; to remove all, apply a file with one and prune")
	}
	specs := make([]calendar.Spec, len(file.Schedules))
	seen := make(map[string]int, len(specs))
	calendars := map[string]icsAnswer{} // schedules mostly name the same ones
	var faults []error
	for i, item := range file.Schedules {
		line := 0
		if i < len(lines) {
			line = lines[i]
		}
		spec, err := item.spec(func(v any) (calendar.List, error) { return r.exclude(v, calendars) })
		if err == nil {
			_, err = spec.Compile()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		if first, ok := seen[spec.Name]; ok {
			faults = append(faults, fmt.Errorf("lines %d and %d are both called %q: give each its own name", first, line, spec.Name))
		}
		specs[i], seen[spec.Name] = spec, line
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	return specs, nil
}

// scheduleFile holds the keys of calendar.Spec in plain types. The YAML library
// would read the types themselves, but writes each such value out and parses it
// again with the whole file behind it: eleven seconds for two thousand
// schedules instead of a tenth of one.
type scheduleFile struct {
	Schedules []scheduleItem `yaml:"schedules"`
}

type scheduleItem struct {
	Name    string `yaml:"name"`
	Select  string `yaml:"select"`
	Every   any    `yaml:"every"`
	AtPhase any    `yaml:"at_phase"`
	Cron    any    `yaml:"cron"`
	Sun     any    `yaml:"sun"`
	Once    string `yaml:"once"`
	TZ      string `yaml:"tz"`
	At      *struct {
		Lat *float64 `yaml:"lat"`
		Lon *float64 `yaml:"lon"`
	} `yaml:"at"`
	From     string       `yaml:"from"`
	Until    string       `yaml:"until"`
	Windows  []windowItem `yaml:"windows"`
	Exclude  any          `yaml:"exclude"`
	Spread   any          `yaml:"spread"`
	Lead     any          `yaml:"lead"`
	Deadline any          `yaml:"deadline"`
	Retry    any          `yaml:"retry"`
	Misfire  string       `yaml:"misfire"`
	Overlap  string       `yaml:"overlap"`
	Priority string       `yaml:"priority"`
	Retake   any          `yaml:"retake"`
}

// mapKeys are the keys of values that may be a map or something shorter: the
// YAML library checks the keys of structs only.
var mapKeys = map[string][]string{
	"retry":   {"attempts", "backoff", "cap", "elsewhere"},
	"retake":  {"on", "max"},
	"exclude": {"ics"},
}

type windowItem struct {
	Days  any    `yaml:"days"`
	Hours any    `yaml:"hours"`
	From  string `yaml:"from"`
	Until string `yaml:"until"`
}

// spec converts, and joins one error for each key that does not.
func (it scheduleItem) spec(exclude func(any) (calendar.List, error)) (calendar.Spec, error) {
	var faults []error
	list := func(key string, v any) calendar.List {
		l, err := textList(v)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
		return l
	}
	duration := func(key string, v any) (d calendar.Duration) {
		if v == nil {
			return 0
		}
		text, err := scalarText(v)
		if err == nil {
			d, err = calendar.ParseDuration(text)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
		return d
	}
	s := calendar.Spec{
		Name: it.Name, Select: it.Select,
		Every: duration("every", it.Every), Cron: list("cron", it.Cron), Sun: list("sun", it.Sun), Once: it.Once,
		TZ: it.TZ, From: it.From, Until: it.Until,
		Spread: duration("spread", it.Spread),
		Lead:   duration("lead", it.Lead), Deadline: duration("deadline", it.Deadline),
		Misfire: it.Misfire, Overlap: it.Overlap, Priority: it.Priority,
	}
	var err error
	if s.Exclude, err = exclude(it.Exclude); err != nil {
		faults = append(faults, fmt.Errorf("exclude: %w", err))
	}
	policy := func(key string, v any, into any) {
		if err := viaJSON(v, into); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	if it.Retry != nil {
		s.Retry = new(calendar.Retry)
		policy("retry", it.Retry, s.Retry)
	}
	if it.Retake != nil {
		s.Retake = new(calendar.Retake)
		policy("retake", it.Retake, s.Retake)
	}
	if it.AtPhase != nil {
		text, err := scalarText(it.AtPhase)
		s.AtPhase = new(calendar.Offset)
		if err == nil {
			err = s.AtPhase.UnmarshalText([]byte(text))
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("at_phase: %w", err))
		}
	}
	if at := it.At; at != nil {
		if at.Lat == nil || at.Lon == nil {
			faults = append(faults, errors.New("at: want both lat and lon, for example {lat: 43.70, lon: 7.26}"))
		} else {
			s.At = &calendar.Coordinates{Lat: *at.Lat, Lon: *at.Lon}
		}
	}
	for _, w := range it.Windows {
		s.Windows = append(s.Windows, calendar.Window{
			Days: list("windows: days", w.Days), Hours: list("windows: hours", w.Hours), From: w.From, Until: w.Until,
		})
	}
	if err := errors.Join(faults...); err != nil {
		return s, fmt.Errorf("schedule %q: %w", it.Name, err)
	}
	return s, nil
}

// icsAnswer is what reading one calendar gave.
type icsAnswer struct {
	list calendar.List
	err  error
}

// exclude reads dates and calendars, {ics: text or name}, into what
// calendar.Spec holds: agents and other schedulers need no file.
func (r ScheduleReader) exclude(v any, known map[string]icsAnswer) (calendar.List, error) {
	items, ok := v.([]any)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		items = []any{v}
	}
	var out calendar.List
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			text, err := scalarText(item)
			if err != nil {
				return nil, errors.New("want dates, each in quotes, or {ics: holidays.ics}")
			}
			out = append(out, text)
			continue
		}
		source, ok := m["ics"].(string)
		if !ok || source == "" {
			return nil, errors.New("ics: want the name of an iCalendar file, or its text")
		}
		answer, ok := known[source]
		if !ok {
			answer.list, answer.err = r.readICS(source)
			known[source] = answer
		}
		if answer.err != nil {
			return nil, answer.err
		}
		out = append(out, answer.list...)
	}
	return out, nil
}

func (r ScheduleReader) readICS(source string) (calendar.List, error) {
	name, data := "text", []byte(source)
	if !strings.Contains(source, "\n") {
		if name = source; r.Open == nil {
			return nil, fmt.Errorf("ics: %q: only `shutterfleet schedules apply` and `preview` read files: send the calendar's text here, BEGIN:VCALENDAR and so on", source)
		}
		var err error
		if data, err = r.Open(source); err != nil {
			return nil, fmt.Errorf("ics: %w", err)
		}
	}
	list, err := ics.Exclude(data, r.Now)
	if err != nil {
		return nil, fmt.Errorf("ics: %s: %w", name, err)
	}
	return list, nil
}

// viaJSON converts a small value that the YAML library read without a type. Its
// JSON form has the same keys, and is checked where the type is declared.
func viaJSON(v, into any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return errors.New("want texts, numbers and lists of them")
	}
	return json.Unmarshal(b, into)
}

func textList(v any) (calendar.List, error) {
	items, ok := v.([]any)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		items = []any{v}
	}
	l := make(calendar.List, len(items))
	for i, item := range items {
		text, err := scalarText(item)
		if err != nil {
			return nil, errors.New("want one text or a list of texts, each in quotes")
		}
		l[i] = text
	}
	return l, nil
}

// scalarText is a scalar as it was written, or nearly: YAML takes 5 for a
// number.
func scalarText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, uint64, float64, bool:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("want a text, in quotes")
}

// decodeYAML reads one document strictly and returns the line of each
// schedule. The YAML library may panic on a malformed document; that is a fault
// of the document like any other.
func decodeYAML(data []byte, into *scheduleFile) (lines []int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not YAML that can be read (%v): check tags, anchors and indentation", p)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, plain(err)
	}
	if len(file.Docs) > 1 {
		return nil, errors.New("the file holds a second document after ---: want one")
	}
	var found aliases
	var items []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(&found, doc.Body)
			items = itemNodes(doc.Body)
		}
	}
	if found.first != nil {
		at := found.first.GetToken().Position
		return nil, fmt.Errorf("[%d:%d] aliases are not read, for a few lines could stand for gigabytes: write the value out, and * in quotes", at.Line, at.Column)
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return nil, plain(err)
	}
	for _, item := range items {
		values := mappingValues(item)
		first := item
		if len(values) > 0 {
			first = values[0].Key
		}
		lines = append(lines, first.GetToken().Position.Line)
		for _, v := range values {
			if err := checkMapKeys(v.Key.String(), v.Value); err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}

// itemNodes returns the items of the top key's list.
func itemNodes(body ast.Node) (items []ast.Node) {
	for _, v := range mappingValues(body) {
		if list, ok := v.Value.(*ast.SequenceNode); ok {
			items = append(items, list.Values...)
		}
	}
	return items
}

// mappingValues returns the entries of a map; none when n is not one.
func mappingValues(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// checkMapKeys refuses unknown keys in the value of one of mapKeys, and in the
// items of its list.
func checkMapKeys(key string, value ast.Node) error {
	known, ok := mapKeys[strings.Trim(key, `"'`)]
	if !ok {
		return nil
	}
	maps := []ast.Node{value}
	if list, ok := value.(*ast.SequenceNode); ok {
		maps = list.Values
	}
	for _, m := range maps {
		for _, v := range mappingValues(m) {
			if name := strings.Trim(v.Key.String(), `"'`); !slices.Contains(known, name) {
				at := v.Key.GetToken().Position
				return fmt.Errorf("[%d:%d] unknown field %q in %s: want %s", at.Line, at.Column, name, key, strings.Join(known, ", "))
			}
		}
	}
	return nil
}

// plain is the YAML library's error with the lines it points to, uncoloured.
func plain(err error) error {
	return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
}

// aliases remembers the first alias that a walk meets.
type aliases struct{ first ast.Node }

func (a *aliases) Visit(n ast.Node) ast.Visitor {
	if n.Type() == ast.AliasType && a.first == nil {
		a.first = n
	}
	return a
}

// checkNesting refuses what no schedules file holds: brackets nested deeply,
// quoted or not, and lines that begin with many indicators.
func checkNesting(data []byte) error {
	depth, lineNumber := 0, 0
	for line := range bytes.Lines(data) {
		lineNumber++
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > maxScheduleDepth {
				return fmt.Errorf("line %d: nested more than %d deep", lineNumber, maxScheduleDepth)
			}
		}
		indicators := 0
		for word := range bytes.FieldsSeq(line) {
			if !bytes.ContainsAny(word[:1], "-?&!*|>") || len(word) > 1 && bytes.ContainsAny(word[:1], "-?") {
				break
			}
			if indicators++; indicators > maxScheduleDepth {
				return fmt.Errorf("line %d: nested more than %d deep", lineNumber, maxScheduleDepth)
			}
		}
	}
	return nil
}
