#!/usr/bin/env perl

# fanout_limit_dry_run: a limit that is tried on real clients. If this fails, they
# are refused, or nobody learns who would have been.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JWT;
use Fanout::Nginx;


my $limits = 'fanout app; fanout_permit all *; fanout_rate 1r/s burst=3;
              fanout_budget user channels=1/s sessions=1/s burst=2s;
              fanout_budget address off; fanout_user $arg_user;';

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 8m; fanout_channel app * history=10;',
    server  => <<"END",
        location = /status { fanout_status app; }
        location /dry { $limits fanout_limit_dry_run on; }
        location /wet { $limits }
        location /tokens {
            fanout app; fanout_jwt secret=abcdefghijklmnopqrstuvwxyz token=optional
                        channel=channel;
            fanout_rate 1r/s burst=3; fanout_budget address sessions=2/s burst=25s;
            fanout_limit_dry_run on;
        }
END
);


sub counters {
    $nginx->http->get('/status?format=json')->json->{counters};
}


sub publishes {
    my ($path, $n) = @_;

    my $ws = $nginx->native(path => $path);

    return map { $ws->cmd('publish', channel => "c$_", data => $_) } 1 .. $n;
}


is(scalar(grep { $_->{ok} } publishes('/dry?user=ann', 60)), 60, 'all is done');

my $then = counters();

cmp_ok($then->{limited_dry_run}, '>', 50, 'what would be refused is counted');
is($then->{rate_limited}, 0, 'and nothing was refused');

is($nginx->native(path => '/dry?user=eve')->status, 101, "session $_")
    for 1 .. 6;

my $poll = $nginx->http->get('/dry?user=ann&poll=1&channel=c1');

is($poll->{status}, 200, "a poll") or diag($poll->{body});
is($nginx->http->post('/dry?user=ann',
       '{"op":"publish","channel":"a","data":1}',
       headers => { 'Content-Type' => 'application/json' })->{status}, 204,
   'a POST');

my $now = counters();

cmp_ok($now->{limited_dry_run}, '>', $then->{limited_dry_run},
       'sessions are counted as well');
is($now->{rate_limited}, 0, 'none is refused');

for my $limit ('too many commands: fanout_rate',
               'too many new channels of a user',
               'too many new sessions of a user')
{
    my @lines = $nginx->log_like(qr/fanout would refuse, dry run: $limit/);

    ok(@lines > 0 && @lines < 10, "$limit: said, and gathered");
}

# a token that is made up costs more to verify than to send

my %codes;
my $eve    = $nginx->native(path => '/tokens');
my $claims = { channel => 'a', exp => CORE::time() + 600 };
my $good   = Fanout::JWT::sign('HS256', 'abcdefghijklmnopqrstuvwxyz', $claims);
my $forged = Fanout::JWT::sign('HS256', 'abcdefghijklmnopqrstuvwxy0', $claims);

is_deeply([ grep { !$eve->cmd('join', channel => 'a', token => $good)->{ok} } 1 .. 40 ],
          [], 'tokens of channels are verified');
$codes{ $eve->cmd('join', channel => 'a', token => $forged)->{error}{code} }++ for 1 .. 40;
cmp_ok($codes{unauthorized}, '<', 20, 'forged ones only up to the limit of their address');
is($codes{unauthorized} + $codes{rate_limited}, 40, 'the others are refused');

cmp_ok(scalar(grep { !$_->{ok} } publishes('/wet?user=ben', 20)), '>', 10,
       'off, the same is refused');
cmp_ok(counters()->{rate_limited}, '>', 10, 'and counted');
