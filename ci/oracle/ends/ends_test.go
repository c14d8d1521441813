// Makes cases for the other ends of a pod, and answers them with Kubernetes' own code: the kernel's out-of-memory killer, taints,
// preemption, drains. `run` puts this file beside copies of the upstream packages; `exports` holds what is put into these.
package ends

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"k8s.io/klog/v2"
)

type object = map[string]any

// kind is a kind of case: its number, which keeps what is drawn of one seed apart, how one is drawn, and what upstream makes of one.
type kind struct {
	number int64
	draw   func(*draw) object
	answer func(*testing.T, json.RawMessage) any
}

var kinds = map[string]kind{
	"oom":                {0, (*draw).oom, answerOom},
	"zones":              {5, (*draw).zones, answerZones},
	"queue":              {3, (*draw).queue, answerQueue},
	"taints":             {4, (*draw).taints, answerTaints},
	"preemption-victims": {2, (*draw).victims, answerVictims},
	"preemption-nodes":   {1, (*draw).nodes, answerNodes},
	"drain":              {6, (*draw).drain, answerDrain},
}

type line struct {
	Case     json.RawMessage `json:"case"`
	Expected any             `json:"expected"`
}

// TestEnds makes ORACLE_COUNT cases of each kind from ORACLE_SEED in the folder ORACLE_ENDS, or takes those that are there if ORACLE_COUNT
// is not set, and answers them.
func TestEnds(t *testing.T) {
	klog.SetLogger(klog.New(nil))
	folder := os.Getenv("ORACLE_ENDS")
	seed, _ := strconv.ParseInt(os.Getenv("ORACLE_SEED"), 10, 64)
	count, isSet := os.LookupEnv("ORACLE_COUNT")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		path := filepath.Join(folder, name+".jsonl")
		cases := []json.RawMessage{}
		if isSet {
			number, _ := strconv.Atoi(count)
			for index := range number {
				d := &draw{rand.New(rand.NewSource(seed<<24 + kinds[name].number<<20 + int64(index)))}
				text, err := json.Marshal(kinds[name].draw(d))
				if err != nil {
					t.Fatal(err)
				}
				cases = append(cases, text)
			}
		} else if cases = readCases(t, path); cases == nil {
			continue
		}
		var answers bytes.Buffer
		for _, one := range cases {
			answer, err := answerOne(t, kinds[name], one)
			if err != nil {
				// What upstream does not survive has no answer.
				fmt.Printf("%s: %v: %s\n", name, err, one)
				continue
			}
			text, err := json.Marshal(line{one, answer})
			if err != nil {
				t.Fatal(err)
			}
			answers.Write(append(text, '\n'))
		}
		if err := os.WriteFile(path, answers.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readCases(t *testing.T, path string) []json.RawMessage {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases := []json.RawMessage{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var one line
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		cases = append(cases, one.Case)
	}
	return cases
}

func answerOne(t *testing.T, kind kind, one json.RawMessage) (answer any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("upstream panics: %v", panicked)
		}
	}()
	return kind.answer(t, one), nil
}

func read(text json.RawMessage, into any) {
	if err := json.Unmarshal(text, into); err != nil {
		panic(err)
	}
}
