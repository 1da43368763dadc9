/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>

#include "fact-internal.h"

static int compare_text(const void *x, const void *y) {
        const Value *a = x, *b = y;

        return strcmp(a->text, b->text);
}

static int compare_member(const void *x, const void *y) {
        const Member *a = x, *b = y;

        return strcmp(a->key, b->key);
}

static void sort_unique(Value *list) {
        uint32_t n = 0;

        if (list->n_items < 2)
                return;
        qsort(list->items, list->n_items, sizeof(Value), compare_text);
        for (uint32_t i = 0; i < list->n_items; i++)
                if (n == 0 || !streq(list->items[n - 1].text, list->items[i].text))
                        list->items[n++] = list->items[i];
        list->n_items = n;
}

/* Temporary addresses (RFC 8981) are another every day, and no fact. table: /proc/net/if_inet6. */
bool inet6_is_passing(const char *table, const struct in6_addr *address) {
        char hex[33];
        const char *line;
        unsigned flags;

        for (size_t i = 0; i < 16; i++)
                (void) snprintf(hex + 2 * i, 3, "%02x", address->s6_addr[i]);
        line = strstr(table, hex);
        return line && sscanf(line, "%*s %*x %*x %*x %x", &flags) == 1 &&
               (flags & (IFA_F_TEMPORARY | IFA_F_TENTATIVE | IFA_F_DADFAILED));
}

/* The text of an address that stands for the host; false for others. */
static bool address_text(
        const struct sockaddr *address, char *table, size_t table_size, char *ret, size_t size) {
        if (address->sa_family == AF_INET) {
                const struct in_addr *in = &((const struct sockaddr_in *) (const void *) address)->sin_addr;
                uint32_t host = ntohl(in->s_addr);

                if (host >> 24 == 127 || host >> 16 == 0xa9fe) /* 127.0.0.0/8, 169.254.0.0/16 */
                        return false;
                return inet_ntop(AF_INET, in, ret, (socklen_t) size) != NULL;
        }

        if (address->sa_family == AF_INET6) {
                const struct in6_addr *in =
                        &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr;

                if (IN6_IS_ADDR_LINKLOCAL(in) || IN6_IS_ADDR_LOOPBACK(in))
                        return false;
                /* Most hosts come here never or rarely; read on first use. */
                if (!*table) {
                        _cleanup_close_ int fd = open("/proc/net/if_inet6", O_RDONLY | O_CLOEXEC);

                        if (fd < 0 || file_read(fd, table, table_size) <= 0)
                                memcpy(table, "-", 2);
                }
                return !inet6_is_passing(table, in) &&
                       inet_ntop(AF_INET6, in, ret, (socklen_t) size) != NULL;
        }

        return false;
}

static void add_text(Arena *arena, Value *table, const char *key, const char *text) {
        Value value = text_value(arena, text, strlen(text));

        (void) value_set(arena, table, key, &value);
}

void net_facts(Arena *arena, Value *facts) {
        Value addresses = value_array(), interfaces = value_table();
        struct ifaddrs *list = NULL;
        char inet6[16384] = "";

        if (getifaddrs(&list) < 0)
                list = NULL;

        for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
                char text[INET6_ADDRSTRLEN];
                Value value, *own;
                Member *interface;

                if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK))
                        continue;

                interface = value_find(&interfaces, i->ifa_name, strlen(i->ifa_name));
                if (!interface) {
                        Value table = value_table(), none = value_array();

                        add_text(arena, &table, "mac", "");
                        (void) value_set(arena, &table, "addresses", &none);
                        interface = value_set(arena, &interfaces, i->ifa_name, &table);
                }

                if (i->ifa_addr->sa_family == AF_PACKET) {
                        const struct sockaddr_ll *link =
                                (const struct sockaddr_ll *) (const void *) i->ifa_addr;
                        const unsigned char *a = link->sll_addr;

                        /* Tunnels put their IP address here. */
                        if (link->sll_hatype != ARPHRD_ETHER || link->sll_halen != 6)
                                continue;
                        (void) snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1],
                                a[2], a[3], a[4], a[5]);
                        add_text(arena, &interface->value, "mac", text);
                        continue;
                }

                if (!(i->ifa_flags & IFF_UP) ||
                        !address_text(i->ifa_addr, inet6, sizeof(inet6), text, sizeof(text)))
                        continue;
                value = value_string(arena, text, strlen(text));
                own = &value_find(&interface->value, "addresses", strlen("addresses"))->value;
                (void) value_append(arena, own, &value);
                (void) value_append(arena, &addresses, &value);
        }
        if (list)
                freeifaddrs(list);

        sort_unique(&addresses);
        if (interfaces.n_members > 1)
                qsort(interfaces.members, interfaces.n_members, sizeof(Member), compare_member);
        VALUE_FOREACH_MEMBER(interface, &interfaces)
                sort_unique(&value_find(&interface->value, "addresses", strlen("addresses"))->value);

        (void) value_set(arena, facts, "addresses", &addresses);
        (void) value_set(arena, facts, "interfaces", &interfaces);
}
