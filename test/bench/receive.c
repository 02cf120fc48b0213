// The yardstick of the way from a kernel message to a decision: a program that only receives the message and looks at the
// clock. Second job, so that both receivers are given the same work: it sets a link down and up again and notes when.
//   receive watch IFINDEX COUNT           prints when each change of the link to up had been received
//   receive toggle IFINDEX COUNT PAUSE_US prints when each request to set the link up was sent
// Times are nanoseconds of CLOCK_MONOTONIC, one a line. Sources: rtnetlink(7), netlink(7).
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int fail(const char *what) {
  perror(what);
  return 1;
}

static int watch(int fd, int ifindex, int count, long long *times) {
  static char buffer[256 * 1024];
  int up = 0, seen = 0;
  printf("ready\n");
  fflush(stdout);
  while (seen < count) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, 5000) <= 0) return fail("nothing came");
    ssize_t length = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    long long at = now();
    if (length < 0) continue;
    struct nlmsghdr *header = (struct nlmsghdr *)buffer;
    for (; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
      struct ifinfomsg *link = NLMSG_DATA(header);
      if (header->nlmsg_type != RTM_NEWLINK || link->ifi_index != ifindex) continue;
      int is_up = (link->ifi_flags & IFF_UP) != 0;
      if (is_up && !up) times[seen++] = at;
      up = is_up;
      if (seen == count) break;
    }
  }
  return 0;
}

static int set(int fd, int ifindex, unsigned flags, long long *before) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg link;
  } request = {.header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
               .link = {.ifi_index = ifindex, .ifi_flags = flags, .ifi_change = IFF_UP}};
  char reply[4096];
  *before = now();
  if (send(fd, &request, sizeof request, 0) < 0) return fail("send");
  if (recv(fd, reply, sizeof reply, 0) < 0) return fail("recv");
  struct nlmsgerr *error = NLMSG_DATA((struct nlmsghdr *)reply);
  return error->error == 0 ? 0 : fail("refused");
}

static int toggle(int fd, int ifindex, int count, useconds_t pause_us, long long *times) {
  long long ignored;
  for (int index = 0; index < count; index++) {
    if (set(fd, ifindex, 0, &ignored)) return 1;
    usleep(pause_us);
    if (set(fd, ifindex, IFF_UP, &times[index])) return 1;
    usleep(pause_us);
  }
  return set(fd, ifindex, 0, &ignored); // As it was.
}

int main(int arguments, char **argument) {
  if (arguments < 4) return 2;
  int watching = strcmp(argument[1], "watch") == 0;
  int ifindex = atoi(argument[2]), count = atoi(argument[3]);
  long long *times = calloc(count, sizeof *times);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = watching ? RTMGRP_LINK : 0};
  if (times == NULL || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return fail("socket");
  int failed = watching ? watch(fd, ifindex, count, times) : toggle(fd, ifindex, count, arguments > 4 ? atoi(argument[4]) : 0, times);
  for (int index = 0; index < count && !failed; index++) printf("%lld\n", times[index]);
  return failed;
}
