"""Check of IP addresses: public ones may be contacted, and networks that the operator allows.

Public means globally reachable unicast by IANA's registries of special-purpose addresses (RFC 6890 and its successors), less
every form that carries an IPv4 address inside an IPv6 one, because the inner address is where the packet ends up.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from curate.errors import RecipeError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_V4_REFUSED = tuple(
    ipaddress.IPv4Network(n)
    for n in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is a metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host agent on a public-looking address
        "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata service of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is a metadata service
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
#: The only block handed out for global unicast. Outside of it: loopback, link-local, unique-local (fd00:ec2::254 is a
#: metadata service), multicast, IPv4-mapped (::ffff:0:0/96), IPv4-compatible, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48),
#: discard-only, segment routing.
_V6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED = tuple(
    ipaddress.IPv6Network(n)
    for n in (
        "2001::/23",  # IETF protocol assignments; Teredo is 2001::/32, ORCHID 2001:10::/28 and 2001:20::/28
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Parse networks such as `127.0.0.0/8`. RecipeError names the one that is not a network."""
    found = []
    for name in names:
        try:
            found.append(ipaddress.ip_network(name))
        except ValueError as e:
            raise RecipeError(f"allow_private: {name!r} is not a network: {e}") from e
    return tuple(found)


def allowed(address: str, opened: Sequence[Network] = ()) -> bool:
    """Whether an address (as a resolver returns it) is public or in one of the `opened` networks; False for other text."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip.version == n.version and ip in n for n in opened):
        return True
    if ip.version == 4:
        return not any(ip in n for n in _V4_REFUSED)
    return ip in _V6_GLOBAL and not any(ip in n for n in _V6_REFUSED)
