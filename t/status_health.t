#!/usr/bin/env perl

# What is wrong now. If this fails, the status says that all is well while every
# publish is refused, writes are not broadcast or events are lost; or it never
# gets well again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Clock;
use Fanout::Nginx;

my $clock = Fanout::Clock->new;

my $nginx = $clock->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone small 2m keys=0%-1% user=100% address=100%;
        fanout_channel app * history=10;
        fanout_channel small * history=100000;
END
    server => <<'END',
        fanout_hook app /hooks/events join queue=5 retry=1s;
        fanout_hook app /hooks/publish publish;
        location /hooks/ {
            internal;
            if (-f %%DIR%%/down) { return 500; }
            return 204;
        }
        location /realtime {
            fanout app; fanout_permit all *; fanout_rate off; fanout_budget off;
        }
        location /rate {
            fanout app; fanout_permit all *; fanout_user $arg_user;
            fanout_budget user sessions=1/s burst=1s;
        }
        location /one {
            fanout app; fanout_permit all *; fanout_user $arg_user;
            fanout_sessions_per_user 1;
        }
        location /small { fanout small; fanout_permit all *; fanout_rate off; fanout_budget off; }
        location /write {
            fanout_broadcast app $arg_channel methods=any;
            fanout_broadcast_size 3;
            return 200 $arg_body;
        }
        location = /status { fanout_status app; }
        location = /health { fanout_status small; }
END
    allow => [ qr/fanout_hook "/, qr/fanout_broadcast/ ],
);

my $http = $nginx->http;

sub health { $http->get($_[0] // '/status')->json->{health} }

sub problems {
    return map { ($_->{name} => $_) } @{ health(@_)->{problems} };
}

sub line { $http->get(($_[0] // '/status') . '?format=health') }

sub down {
    open my $f, '>', $nginx->dir . '/down' or die $!;
}

sub up { unlink $nginx->dir . '/down' or die $! }

# A minute without anything. Time goes in steps that are shorter than what a
# ping may take, and each has a sample.

sub minute {
    for (1 .. 9) {
        my $had = $http->get('/status')->json->{history}{samples};
        $clock->forward(10_000);
        wait_for(sub { $http->get('/status')->json->{history}{samples} > $had });
    }
}


# nothing is wrong

my $first = health();

like(delete $first->{seconds}, qr/^\d+$/, 'how long');
is_deeply($first, { state => 'ok', problems => [] }, 'at first');
is(line()->{body}, "ok\n", 'in a line');

my $ws = $nginx->native;

$ws->ok('publish', channel => 'a', data => 1);
$http->get('/write?channel=a&body=xy');
is(health()->{state}, 'ok', 'after what went well');


# a backend that is down

down();
is($ws->cmd('publish', channel => 'a', data => 1)->{error}{code}, 'hook_failed',
   'a publish fails') for 1 .. 3;

my %is = problems();

is($is{hook_failures}{level}, 'failure', 'which is a failure');
cmp_ok($is{hook_failures}{count}, '>=', 3, 'each of them');
is(health()->{state}, 'failure', 'in a word');
is(line()->{status}, 200, 'this worker may get clients all the same');
is(line()->{body}, "ok, failing: hook_failures\n", 'and the line says what fails');


# events that it does not take

$ws->ok('join', channel => "c$_") for 1 .. 12;

ok(wait_for(sub { %is = problems(); $is{events_lost} }), 'events are lost');
is($is{events_lost}{level}, 'failure', 'which is a failure');
like(line()->{body}, qr/^ok, failing: .*events_lost/, 'in the line');

minute();
%is = problems();
is($is{events_wait}{level}, 'warning', 'others wait');
cmp_ok($is{events_wait}{count}, '>', 60_000, 'for so long');
ok(!$is{events_lost}, 'none is lost any more');
ok($is{hook_failures}, 'calls fail, again and again');


# it is up again

up();
ok(wait_for(sub { $clock->forward(1000);
                  !$http->get('/status')->json->{zone}{events_queued} }), 'all are taken');
$ws = $nginx->native;
$ws->ok('publish', channel => 'a', data => 1);
minute();

is(health()->{state}, 'ok', 'it gets well') or diag(Fanout::JSON::encode(health()));
is(line()->{body}, "ok\n", 'in the line too');


# responses

$http->get('/write?channel=' . 'x' x 300 . '&body=xy');
%is = problems();
is($is{broadcast_failures}{level}, 'failure', 'one that is not broadcast');
is($is{broadcast_failures}{count}, 1, 'how many');

$http->get('/write?channel=a&body=abcdefg');
%is = problems();
is($is{broadcast_skipped}{level}, 'warning', 'one without its body');

minute();
is(health()->{state}, 'ok', 'it was a minute ago');


# notes are no more than that

is($nginx->ws(path => '/realtime', expect => undef,
              headers => { Origin => 'http://evil.test' })->status, 403, 'a handshake');
%is = problems();
is($is{rejects}{level}, 'note', 'that was refused is a note');
is(health()->{state}, 'ok', 'and all is well');


# one refusal is one problem, whatever it is refused for

my %refused = (
    websocket => sub {
        return $nginx->ws(path => '/rate?user=w', expect => undef)->status
               == 429;
    },
    poll => sub {
        return $http->get('/rate?user=p&channel=a&poll=1&session=1', headers => {
                   'X-Requested-With' => 'test' })->{status} == 429;
    }
);

for my $how (sort keys %refused) {
    minute();
    ok((grep { $refused{$how}->() } 1 .. 3), "a $how is refused for its rate");
    %is = problems();
    cmp_ok($is{rate_limited}{count}, '>=', 1, 'that is a problem');
    ok(!$is{rejects}, 'and only one');
}

my $only = $nginx->native(path => '/one?user=one');

minute();
is($nginx->ws(path => '/one?user=one')->wait_close, 4429,
   'one session too many') for 1 .. 2;
is($http->get('/one?user=one&channel=a&poll=1&session=1', headers => {
       'X-Requested-With' => 'test' })->{status}, 429, 'by a poll');
%is = problems();
is($is{rejects}{count}, 3, 'each is refused');
ok(!$is{rate_limited}, 'and not for a rate');


# a share, and then the zone

my $small = $nginx->native(path => '/small');

is_deeply({ problems('/health') }, {}, 'another zone is well');

for (1 .. 2000) {
    my $r = $small->cmd('publish', channel => 'k', data => 1, key => "k$_");
    last if $r->{error};
}

%is = problems('/health');
is($is{share_refused}{level}, 'warning', 'a share is full');
is(health('/health')->{state}, 'warning', 'in a word');
is(line('/health')->{body}, "ok\n", 'nothing fails but for those with keys');

for (1 .. 60) {
    $small->ok('publish', channel => "h", messages => [ map { { data => 'x' x 900 } } 1 .. 50 ]);
    last if grep { $_ eq 'zone_full' } keys %{{ problems('/health') }};
}

%is = problems('/health');
is($is{zone_full}{level}, 'warning', 'it is nearly full');
cmp_ok($is{zone_full}{count}, '>=', 90, 'in percent');


# what the documentation has is what there is

sub slurp { Fanout::Nginx::slurp("$FindBin::Bin/../$_[0]") }

my $zone    = slurp('src/zone/stat.h');
my ($names) = $zone =~ /define FANOUT_FAILURES\(_\)(.*?)\n\n/s;
my ($more)  = $zone =~ /define FANOUT_LOSSES\(_\)(.*?)\n\n/s;
my @state   = slurp('src/status/health.c') =~ /add\(health, "(\w+)"/g;
my %level   = (map { my $text = $_; map { $_ => 1 } $text =~ /_\((\w+),/g } $names, $more);
my @all     = sort keys %level, @state;

my ($doc) = slurp("docs/status.md") =~ /^## What is wrong\n(.*?)(?:^## |\z)/ms;
my ($problems, $rest) = split /^### /m, $doc;

is_deeply([ sort $problems =~ /^\| `(\w+)` \|/mg ], \@all, 'every problem is described');

my ($words) = slurp('src/status/status.html') =~ /^const troubles = \{(.*?)^\};/ms;

is_deeply([ sort $words =~ /^    (\w+): \(/mg ], \@all, 'and the page has words for it');

# a counter of failures is one of these, or it is said why not

my ($counters) = $zone =~ /define FANOUT_COUNTERS\(_\)(.*?)\n\n/s;
my @fails = grep { !$level{$_} }
            map  { $_->[0] }
            grep { "@$_" =~ /fail|refus|drop|lost|let go|closed for|error|could not|without their|full|not shrink|offline|gathered/ }
            map  { [ /_\((\w+),\s*"([^"]*)"/ ] } split /\n/, $counters;

is_deeply([ grep { $rest !~ /`$_`/ } @fails ], [], 'others are said to be none');

done_testing();
