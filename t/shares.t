#!/usr/bin/env perl

# Shares of the zone: if this fails, one client that may publish on its own
# channels fills the zone with one kind of data, and others lose their history,
# or are refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 3m dedupe=1h;
        fanout_channel app victim:* history=100;
        fanout_channel app room:*   history=100;
END
    server => <<'END',
        location /rt { fanout app; fanout_permit all *; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;

sub post {
    my ($channel, $data, %headers) = @_;

    return $http->post("/fanout/channels/$channel/messages", $data, headers => \%headers);
}

sub status { $http->get('/status')->json }
sub kept   { $http->get('/fanout/channels/victim:1')->json->{messages} }

sub batch {
    my ($from, $make) = @_;

    return $http->post('/fanout/batch',
                       '[' . join(',', map { $make->($from + $_) } 1 .. 64) . ']');
}

post('victim:1', qq("$_ ) . 'x' x 100 . '"') for 1 .. 100;
is(kept(), 100, 'a history');


# keys, that are remembered for an hour

my ($n, $full) = (0, undef);

while ($n < 12_000 && !$full) {
    my $answer = batch($n, sub {
        qq({"op":"publish","channel":"room:a","data":0,"store":false,"key":"k$_[0]"});
    });

    $n   += 64;
    $full = $answer->{body} =~ /zone_full/;
}

ok($full, 'keys come to an end');

my $refused = post('room:a', 1, 'Fanout-Key' => 'one too many');

is($refused->{status}, 507, 'one alone is refused as well');
is($refused->json->{error}{message},
   'the share of the zone for keys is full: fanout_zone keys=', 'and told why');
ok($nginx->wait_log(qr/\[warn\].*fanout refused an operation on zone "app": the share of the zone for keys is full/),
   'so is the log');

my $shares = status()->{zone}{shares};

ok($shares->{keys}{refused} > 0, 'which is counted');
ok($shares->{keys}{used} <= $shares->{keys}{max}, 'within their share');
is(post('room:a', 1)->{status}, 201, 'without a key it publishes');
is(post('victim:1', 1)->{status}, 201, 'so does another');
is(post('victim:1', 1, 'Fanout-Key' => 'own')->{status}, 201, 'with a key as well');
is(kept(), 100, 'who keeps its history');
is(status()->{zone}{evicted}, 0, 'nothing was evicted');


# channels of one message each, more than the zone has room for

for ($n = 0; $n < 16_000; $n += 64) {
    batch($n, sub { qq({"op":"publish","channel":"room:$_[0]","data":0}) });
}

my %class = map { $_->{pattern} => $_ } @{ status()->{classes} };

ok($class{'room:*'}{evicted} > 0, 'the class that fills the zone is evicted from');
is($class{'victim:*'}{evicted}, 0, 'and not the other');
is(kept(), 100, 'which keeps its history');
is(post('victim:2', 1)->{status}, 201, 'and makes channels');

like($http->get('/status?format=prometheus')->{body},
     qr/^nginx_fanout_share_refused_total\{zone="app",kind="keys"\} [1-9]/m, 'metrics');

done_testing();
