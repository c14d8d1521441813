package scheduler

import "fmt"

// Rate is how many nodes a second the queue lets pass. A limiter that never accepts would say 1.
func (q *RateLimitedTimedQueue) Rate() float32 {
	if fmt.Sprintf("%T", q.limiter) == "*flowcontrol.fakeNeverRateLimiter" {
		return 0
	}
	return q.limiter.QPS()
}
