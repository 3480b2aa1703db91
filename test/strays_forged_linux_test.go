package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belfry-io/belfry/natsadapter/natstest"
	"github.com/belfry-io/belfry/test/child"
	"github.com/belfry-io/belfry/test/kit"
)

func init() { roles["forgers"] = beForgers }

// A forgery is what forgers are told: to ask for these paths in turn, so often a second.
type forgery struct {
	Paths []string
	Rate  int
	For   time.Duration
}

// beForgers is clients of the server at args[0], over 32 connections. For each line, which is a forgery in
// JSON, it prints how many requests were answered, by status.
func beForgers(args []string) error {
	const clients, batches = 32, 20 // a second
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var f forgery
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return err
		}
		var sending sync.WaitGroup
		var failed atomic.Value
		var mu sync.Mutex
		answers := make(map[int]int)
		for i := range clients {
			sending.Go(func() {
				counted, err := f.send(args[0], i, f.Rate/clients/batches, time.Second/batches)
				if err != nil {
					failed.Store(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for status, n := range counted {
					answers[status] += n
				}
			})
		}
		sending.Wait()
		if err, ok := failed.Load().(error); ok {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
			return err
		}
	}
	return nil
}

// send sends batches of requests over one connection at fixed times, and reads the answers.
func (f forgery) send(address string, client, batch int, every time.Duration) (answers map[int]int, err error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	r := bufio.NewReader(nc)
	answers = make(map[int]int)
	began := time.Now()
	next, i := began.Add(every*time.Duration(client)/32), client
	for time.Since(began) < f.For {
		time.Sleep(time.Until(next))
		next = next.Add(every)
		var text strings.Builder
		for range batch {
			fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", f.Paths[i%len(f.Paths)])
			i++
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(nc, text.String()); err != nil {
			return answers, err
		}
		for range batch {
			answer, err := http.ReadResponse(r, nil)
			if err != nil {
				return answers, err
			}
			if _, err = io.Copy(io.Discard, answer.Body); err != nil {
				return answers, err
			}
			answers[answer.StatusCode]++
		}
	}
	return answers, nil
}

// TestForgedIDs: a flood of ids of sessions that there are not makes a node send nothing to others, whatever
// node they name, and others notice no more of it than of as many requests for a path that there is not.
func TestForgedIDs(t *testing.T) {
	rate, last, rounds := 2000, time.Second, 1
	var via []string
	if *floods {
		rate, last, rounds = 20_000, 4*time.Second, 5
		via = []string{"nice"} // they are on other machines: here they are not to take time from the server
	}
	broker := natstest.NewServer(t)
	flooded, other, dead := startCounted(t, broker.URL()), startCounted(t, broker.URL()), startCounted(t, broker.URL())
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 10}}
	defer web.CloseIdleConnections()
	const path = "/socket.io/?EIO=4&transport=polling&sid="
	alive, gone := other.session(t, web), dead.session(t, web)
	ids := forgedIDs(flooded.session(t, web), alive, gone)
	var ended []string // real ones
	for range 20 {
		sid := other.session(t, web)
		kit.Must((&stormers{web: web}).do(http.MethodPost, "http://"+other.host+path+sid, "1"))(t)
		ended = append(ended, sid)
	}
	kit.OK(t, dead.Quit())
	kit.Eventually(t, "it to be known that the node has left", func() bool {
		answer := kit.Must(web.Get("http://" + flooded.host + path + gone))(t)
		answer.Body.Close()
		return answer.StatusCode == http.StatusBadRequest
	})
	observer := child.Start(t, "observer", flooded.host, "100")
	kit.Must(observer.Line())(t)
	forgers := kit.Must(child.Run(via, "forgers", flooded.host))(t)
	t.Cleanup(forgers.Kill)
	forge := func(what string, paths []string, status int) (p99 time.Duration, sent uint64) {
		t.Helper()
		before := flooded.gauge(t)
		look(t, observer)
		order := kit.Must(json.Marshal(forgery{Paths: paths, Rate: rate, For: last}))(t)
		line := kit.Must(forgers.Ask(string(order)))(t)
		sight, after := look(t, observer), flooded.gauge(t)
		var answers map[int]int
		kit.OK(t, json.Unmarshal([]byte(line), &answers))
		sent = after.Stats.Adapter.Sent - before.Stats.Adapter.Sent
		t.Logf("%s: %d requests in %v; others: p50 %v, p99 %v, at the most %v; %d messages sent, with heartbeats",
			what, answers[status], last, sight.P50, sight.P99, sight.Max, sent)
		kit.Check(t, len(answers) == 1 && answers[status] > 0, "%s: answered %v, want %d alone", what, answers, status)
		return sight.P99, sent
	}
	var forged, nothing []string
	for i, id := range append(ids, ended...) {
		forged = append(forged, path+id)
		nothing = append(nothing, fmt.Sprint("/nothing/", id, i))
	}
	before := flooded.gauge(t).Stats.Strays.Forwarded
	for _, sid := range ended {
		answer := kit.Must(web.Get("http://" + flooded.host + path + sid))(t)
		answer.Body.Close()
		kit.Equal(t, answer.StatusCode, http.StatusBadRequest, "a session that has ended")
	}
	kit.Equal(t, flooded.gauge(t).Stats.Strays.Forwarded-before, uint64(len(ended)), "ids that were asked for")
	var quiet, loud []time.Duration
	for range rounds {
		p, beats := forge("for nothing", nothing, http.StatusNotFound)
		was := flooded.gauge(t).Stats
		q, sent := forge("forged ids", forged, http.StatusBadRequest)
		is := flooded.gauge(t).Stats
		quiet, loud = append(quiet, p), append(loud, q)
		kit.Equal(t, is.Strays.Forwarded, was.Strays.Forwarded, "requests that were forwarded")
		kit.Check(t, is.Refusals.Session > was.Refusals.Session, "refused: %+v, and before %+v", is.Refusals, was.Refusals)
		kit.Check(t, sent < 2*beats+20, "%d messages were sent, and %d without forged ids", sent, beats)
	}
	slices.Sort(quiet)
	slices.Sort(loud)
	most := 3*quiet[rounds/2] + 2*time.Second // on a machine that is busy with other things
	if *floods {
		most = quiet[rounds/2]*5/4 + time.Millisecond
	}
	kit.Check(t, loud[rounds/2] <= most, "p99 of others: %v, and %v with requests for nothing; want %v at the most",
		loud[rounds/2], quiet[rounds/2], most)
	kit.Must((&stormers{web: web}).do(http.MethodPost, "http://"+flooded.host+path+alive, `42["all","hello"]`))(t, "a good id")
}

// forgedIDs are ids of sessions that there are not, made of real ones: of the flooded node, of another, and of
// one that is dead.
func forgedIDs(here, alive, dead string) (ids []string) {
	change := func(id string, i int) string {
		i = (i + len(id)) % len(id)
		c := byte('A')
		if id[i] == c {
			c = 'B'
		}
		return id[:i] + string(c) + id[i+1:]
	}
	for _, id := range []string{here, alive, dead} {
		node, secret, _ := strings.Cut(id, ".")
		ids = append(ids,
			change(id, -1), change(id, -8), // the mac
			change(id, len(node)+1), change(id, len(node)+6), // what it is over
			id[:len(id)-1], id+"A", // the length
			node, node+".", node+"."+secret[:12]+".", node+"..", "."+secret, // parts
			node+strings.Repeat("A", len(id)-len(node)), strings.ReplaceAll(id, ".", "_"),
		)
	}
	_, secret, _ := strings.Cut(alive, ".")
	ids = append(ids, dead, "0123456789."+secret, "__________."+secret, strings.Repeat("A", 20), strings.Repeat("A", 32),
		strings.Repeat(".", 32), strings.Repeat("A", 4000), "%00", "%C3%A4")
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}
