#!/usr/bin/env perl

# Refusals of many addresses in fanout_log. If this fails, who has many can fill the
# disk with them, or nobody learns how many there were.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 8m; fanout_budget off;',
    server  => <<'END',
        fanout_log %%DIR%%/fanout.log events=deny;
        location = /fanout-status { fanout_status app; }
        location /rt { fanout app; fanout_permit join room:*; fanout_user $arg_user; }
END
);

# of one address: whose they are is told as long as it is one user

sub refuse {
    my ($from, $query) = @_;

    return $nginx->http(local => $from)->get("/rt?poll=1&channel=x$query")->{status};
}

refuse('127.0.9.1', '&user=ann') for 1 .. 8;
refuse('127.0.9.2', "&user=u$_") for 1 .. 8;

my $n = 400;

for my $i (1 .. $n) {
    my $status = refuse(sprintf('127.0.%d.%d', 1 + $i / 200, 1 + $i % 200), '');

    is($status, 403, 'refused') if $status != 403 || $i == 1;
}

sub denials {
    open my $f, '<', $nginx->dir . '/fanout.log' or die;
    return map { Fanout::JSON::decode($_) } <$f>;
}

sub of_many { grep { $_->{addr} !~ /^127\.0\.9\./ } denials() }

my @lines = of_many();

# the ten seconds may end while they come

cmp_ok(scalar(@lines), '>=', 250, 'most have a line');
cmp_ok(scalar(@lines), '<', $n, 'not all have');
cmp_ok($nginx->http->get('/fanout-status')->json->{counters}{log_gathered}, '>=',
       $n - @lines, 'the others are counted');

$nginx->stop;

my @many = grep { $_->{addr} eq 'many' } denials();
my %gathered = map { $_->{addr} => $_ } grep { $_->{repeated} } denials();

is($gathered{'127.0.9.1'}{repeated}, 3, 'of one user');
is($gathered{'127.0.9.1'}{user}, 'ann', 'it is told');
is($gathered{'127.0.9.2'}{repeated}, 3, 'of several');
ok(!$gathered{'127.0.9.2'}{user}, 'none is told');

my $repeated = 0;
$repeated += $_->{repeated} for @many;

is($repeated + @lines, $n, 'and told of together');
is($many[0]{event}, 'deny', 'as what they are');

$nginx->done_testing;
