package mesh

import "testing"

// Whatever befalls a node, its goodbye is for good, and one that was given up is first suspect when it is back.
func TestTransitions(t *testing.T) {
	changes := []change{falls, answers, dies, returns, parts, leaves}
	reached := map[Standing]bool{StandingAlive: true}
	for queue := []Standing{StandingAlive}; len(queue) > 0; queue = queue[1:] {
		was := queue[0]
		for _, c := range changes {
			is, ok := transitions[was][c]
			if !ok {
				continue
			}
			if !reached[is] {
				reached[is] = true
				queue = append(queue, is)
			}
			switch {
			case is == was:
				t.Errorf("%d: change %d leads nowhere", was, c)
			case was.parted() && !is.parted(), c == parts && !is.parting():
				t.Errorf("%d becomes %d by change %d: a goodbye is for good", was, is, c)
			case was == StandingLeft, was == StandingDead && is != StandingSuspect:
				t.Errorf("%d becomes %d by change %d: it was over", was, is, c)
			case is.over() && !was.silent() && !was.parted():
				t.Errorf("%d becomes %d by change %d: it was alive", was, is, c)
			case is.alive() && c != answers:
				t.Errorf("%d becomes %d by change %d without an answer", was, is, c)
			}
		}
	}
	if len(reached) != int(StandingLeft) {
		t.Errorf("reached %v, want all but StandingUnmet, which is for those who watch", reached)
	}
}
