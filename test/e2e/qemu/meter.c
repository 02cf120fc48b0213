// What a packet meter must be and Node under emulation is not: fast, and without pauses of its own. One program, static,
// for both ends:
//   meter udp LOCAL PEER PORT PERIOD_US FILE   sends a datagram each period and reports what is missing of the peer's
//   meter echo LOCAL PORT                      a TCP server that sends back what it gets
//   meter tcp PEER PORT PERIOD_MS FILE         a TCP connection with a message each period; reports slow echoes and the end
//   meter links FILE                           what the kernel says about links, with the instant at which it says it
//   meter card DEVICE                          its rings, and whether it aggregates what it receives (ethtool has it so)
// FILE gets a JSON line for each hole and, at SIGTERM, one with the totals. *_ns are CLOCK_REALTIME of who measured.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

static volatile sig_atomic_t stopped;
static void stop(int signal) { (void)signal, stopped = 1; }

static u64 clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int fail(const char *what) {
  perror(what);
  return 1;
}

struct end {
  struct sockaddr_storage address;
  socklen_t size;
};

static struct end end_of(const char *host, const char *port) {
  struct end end = {.size = sizeof(struct sockaddr_in)};
  struct sockaddr_in *v4 = (void *)&end.address;
  struct sockaddr_in6 *v6 = (void *)&end.address;
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(atoi(port));
  } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(atoi(port)), end.size = sizeof *v6;
  } else {
    fprintf(stderr, "not an address: %s\n", host);
    exit(2);
  }
  return end;
}

static FILE *report(const char *path) {
  FILE *file = fopen(path, "w");
  if (file == NULL) exit(fail(path));
  setvbuf(file, NULL, _IOLBF, 0);
  return file;
}

struct datagram {
  u64 number, sent_ns;
  char padding[48];
};

// After a long stop (a migration) the missed periods are not made up for: that would be a burst, not a stream.
enum { CATCH_UP_MAX = 50, BUFFER_BYTES = 1 << 22 };

static int udp(char **word) {
  struct end local = end_of(word[0], word[2]), peer = end_of(word[1], word[2]);
  long period_us = atol(word[3]);
  FILE *file = report(word[4]);
  int fd = socket(local.address.ss_family, SOCK_DGRAM, 0), buffer = BUFFER_BYTES;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  if (bind(fd, (void *)&local.address, local.size) < 0) return fail("bind");
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec pace = {{period_us / 1000000, period_us % 1000000 * 1000}, {0, 1000000}};
  timerfd_settime(timer, 0, &pace, NULL);

  struct pollfd both[2] = {{.fd = fd, .events = POLLIN}, {.fd = timer, .events = POLLIN}};
  struct datagram out = {0}, in;
  u64 expected = 0, received = 0, again = 0, refused = 0, lost = 0, last_ns = 0, periods;
  while (!stopped) {
    if (poll(both, 2, 100) <= 0) continue;
    if (both[1].revents && read(timer, &periods, sizeof periods) == sizeof periods)
      for (u64 count = periods < CATCH_UP_MAX ? periods : CATCH_UP_MAX; count > 0; count--, out.number++) {
        out.sent_ns = clock_ns(CLOCK_REALTIME);
        if (sendto(fd, &out, sizeof out, 0, (void *)&peer.address, peer.size) < 0) refused++;
      }
    while (recv(fd, &in, sizeof in, MSG_DONTWAIT) == sizeof in) {
      u64 now_ns = clock_ns(CLOCK_REALTIME);
      if (received++ > 0 && in.number < expected) {
        again++; // A copy, or one that was overtaken.
        continue;
      }
      if (received > 1 && in.number > expected) {
        u64 hole = in.number - expected;
        lost += hole;
        fprintf(file, "{\"lost\":%llu,\"silence_us\":%llu,\"at_ns\":\"%llu\",\"sent_ns\":\"%llu\"}\n", hole,
                (now_ns - last_ns) / 1000, now_ns, in.sent_ns);
      }
      expected = in.number + 1, last_ns = now_ns;
    }
  }
  fprintf(file, "{\"end\":true,\"sent\":%llu,\"refused\":%llu,\"received\":%llu,\"lost\":%llu,\"again\":%llu}\n", out.number,
          refused, received, lost, again);
  return fclose(file);
}

static int echo(char **word) {
  struct end local = end_of(word[0], word[1]);
  int fd = socket(local.address.ss_family, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (void *)&local.address, local.size) < 0 || listen(fd, 4) < 0) return fail("listen");
  signal(SIGCHLD, SIG_IGN);
  while (!stopped) {
    int peer = accept(fd, NULL, NULL);
    if (peer < 0) continue;
    if (fork() == 0) {
      char bytes[4096];
      setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      for (ssize_t size; (size = read(peer, bytes, sizeof bytes)) > 0;)
        if (write(peer, bytes, size) != size) break;
      _exit(0);
    }
    close(peer);
  }
  return 0;
}

enum { SLOW_NS = 15000000 };
struct message {
  u64 number, sent_ns;
};

static int tcp(char **word) {
  struct end peer = end_of(word[0], word[1]);
  u64 period_ns = atol(word[2]) * 1000000ULL, next_ns = clock_ns(CLOCK_MONOTONIC), sent = 0, echoed = 0, slowest_ns = 0;
  FILE *file = report(word[3]);
  int fd = socket(peer.address.ss_family, SOCK_STREAM, 0), on = 1;
  const char *broken = NULL;
  if (connect(fd, (void *)&peer.address, peer.size) < 0) broken = strerror(errno);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct message out, in[64];
  size_t held = 0;
  while (!stopped && broken == NULL) {
    u64 now_ns = clock_ns(CLOCK_MONOTONIC);
    if (now_ns >= next_ns) {
      out = (struct message){sent++, now_ns}, next_ns = now_ns + period_ns;
      if (send(fd, &out, sizeof out, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) broken = strerror(errno);
    }
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (poll(&one, 1, 1 + (next_ns > now_ns ? (next_ns - now_ns) / 1000000 : 0)) <= 0) continue;
    ssize_t size = recv(fd, (char *)in + held, sizeof in - held, MSG_DONTWAIT);
    if (size == 0) broken = "closed by the peer";
    else if (size < 0 && errno != EAGAIN) broken = strerror(errno);
    if (size <= 0) continue;
    held += size;
    size_t whole = held / sizeof *in;
    for (size_t i = 0; i < whole; i++, echoed++) {
      u64 took_ns = clock_ns(CLOCK_MONOTONIC) - in[i].sent_ns;
      if (took_ns > slowest_ns) slowest_ns = took_ns;
      if (took_ns > SLOW_NS)
        fprintf(file, "{\"slow_us\":%llu,\"number\":%llu,\"at_ns\":\"%llu\"}\n", took_ns / 1000, in[i].number,
                clock_ns(CLOCK_REALTIME));
    }
    memmove(in, in + whole, held - whole * sizeof *in);
    held -= whole * sizeof *in;
  }
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
  fprintf(file, "{\"end\":true,\"broken\":%s%s%s,\"sent\":%llu,\"echoed\":%llu,\"slowest_us\":%llu,\"retransmitted\":%u}\n",
          broken ? "\"" : "", broken ? broken : "null", broken ? "\"" : "", sent, echoed, slowest_ns / 1000,
          info.tcpi_total_retrans);
  return fclose(file);
}

static int netlink(int family, unsigned groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW, family), buffer = BUFFER_BYTES;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  if (bind(fd, (void *)&address, sizeof address) < 0) exit(fail("netlink"));
  return fd;
}

/** The attribute of this type among others, or NULL. */
static struct rtattr *find(struct rtattr *at, int size, int type) {
  for (; RTA_OK(at, size); at = RTA_NEXT(at, size))
    if ((at->rta_type & NLA_TYPE_MASK) == type) return at;
  return NULL;
}
static struct rtattr *inside(struct rtattr *at, int type) {
  return at == NULL ? NULL : find(RTA_DATA(at), RTA_PAYLOAD(at), type);
}
static int number(struct rtattr *at) {
  return at == NULL ? 0 : RTA_PAYLOAD(at) == 1 ? *(unsigned char *)RTA_DATA(at) : *(int *)RTA_DATA(at);
}

static void say_links(FILE *file, char *bytes, int size, u64 now_ns) {
  for (struct nlmsghdr *head = (void *)bytes; NLMSG_OK(head, size); head = NLMSG_NEXT(head, size)) {
    struct ifinfomsg *link = NLMSG_DATA(head);
    struct rtattr *first = IFLA_RTA(link), *name;
    int rest = head->nlmsg_len - NLMSG_LENGTH(sizeof *link);
    if (head->nlmsg_type != RTM_NEWLINK && head->nlmsg_type != RTM_DELLINK) continue;
    name = find(first, rest, IFLA_IFNAME);
    fprintf(file, "{\"at_ns\":\"%llu\",\"link\":\"%s\",\"ifindex\":%d,\"gone\":%s,\"carrier\":%d,\"master\":%d,\"active\":%d}\n", now_ns,
            name ? (char *)RTA_DATA(name) : "", link->ifi_index, head->nlmsg_type == RTM_DELLINK ? "true" : "false",
            number(find(first, rest, IFLA_CARRIER)), number(find(first, rest, IFLA_MASTER)),
            number(inside(inside(find(first, rest, IFLA_LINKINFO), IFLA_INFO_DATA), IFLA_BOND_ACTIVE_SLAVE)));
  }
}

static int links(char **word) {
  FILE *file = report(word[0]);
  struct pollfd both[2] = {{.fd = netlink(NETLINK_ROUTE, RTMGRP_LINK), .events = POLLIN},
                           {.fd = netlink(NETLINK_KOBJECT_UEVENT, 1), .events = POLLIN}};
  static char bytes[1 << 16];
  // First to know, whoever else is waiting for the CPU.
  struct sched_param first = {.sched_priority = 50};
  sched_setscheduler(0, SCHED_FIFO, &first);
  while (!stopped) {
    if (poll(both, 2, 1000) <= 0) continue;
    u64 now_ns = clock_ns(CLOCK_REALTIME);
    ssize_t size = recv(both[0].fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) say_links(file, bytes, size, now_ns);
    if (recv(both[1].fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
      fprintf(file, "{\"at_ns\":\"%llu\",\"uevent\":\"%s\"}\n", now_ns, bytes);
  }
  return fclose(file);
}

static int card(char **word) {
  struct ethtool_ringparam rings = {.cmd = ETHTOOL_GRINGPARAM};
  struct ethtool_value gro = {.cmd = ETHTOOL_GGRO};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq asked = {0};
  strncpy(asked.ifr_name, word[0], IFNAMSIZ - 1);
  asked.ifr_data = (char *)&rings;
  if (ioctl(fd, SIOCETHTOOL, &asked) < 0) return fail("rings");
  asked.ifr_data = (char *)&gro;
  if (ioctl(fd, SIOCETHTOOL, &asked) < 0) return fail("gro");
  printf("{\"rxRing\":%u,\"txRing\":%u,\"gro\":%s}\n", rings.rx_pending, rings.tx_pending, gro.data ? "true" : "false");
  return 0;
}

int main(int count, char **word) {
  struct sigaction end = {.sa_handler = stop};
  sigaction(SIGTERM, &end, NULL);
  sigaction(SIGINT, &end, NULL);
  if (count == 7 && strcmp(word[1], "udp") == 0) return udp(word + 2);
  if (count == 4 && strcmp(word[1], "echo") == 0) return echo(word + 2);
  if (count == 6 && strcmp(word[1], "tcp") == 0) return tcp(word + 2);
  if (count == 3 && strcmp(word[1], "links") == 0) return links(word + 2);
  if (count == 3 && strcmp(word[1], "card") == 0) return card(word + 2);
  fprintf(stderr, "meter udp LOCAL PEER PORT PERIOD_US FILE | echo LOCAL PORT | tcp PEER PORT PERIOD_MS FILE | links FILE | card DEVICE\n");
  return 2;
}
