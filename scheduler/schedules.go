package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// maxScheduleBytes bounds a schedules file: 10,000 schedules take about 1 MB.
const maxScheduleBytes = 4 << 20

// ParseSchedules reads a schedules file: YAML, or JSON, of the form
//
//	schedules:
//	  - name: shelf
//	    select: "site=store-*"
//	    every: 5m
//
// Unknown keys are refused with their line and column, names must differ, and
// every schedule must compile.
func ParseSchedules(data []byte) ([]calendar.Spec, error) {
	if len(data) > maxScheduleBytes {
		return nil, fmt.Errorf("schedules: %d bytes long, want at most %d: split the file", len(data), maxScheduleBytes)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("schedules: the file is empty: want a list under the key schedules")
	}
	var file struct {
		Schedules []calendar.Spec `yaml:"schedules"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("schedules: %s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("schedules: the file holds a second document after ---: want one")
	}
	if len(file.Schedules) == 0 {
		return nil, errors.New("schedules: none in the file: want a list under the key schedules; to remove all, apply a file with one and prune")
	}
	seen := make(map[string]int, len(file.Schedules))
	var faults []error
	for i, s := range file.Schedules {
		if _, err := s.Compile(); err != nil {
			faults = append(faults, fmt.Errorf("item %d: %w", i+1, err))
			continue
		}
		if first, ok := seen[s.Name]; ok {
			faults = append(faults, fmt.Errorf("items %d and %d are both called %q: give each its own name", first+1, i+1, s.Name))
		}
		seen[s.Name] = i
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	return file.Schedules, nil
}
