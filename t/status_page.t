#!/usr/bin/env perl

# The page of the status, in a real Chromium. If this fails, an operator opens
# it when something is wrong and sees nothing, or numbers that are not those
# of the JSON, or yesterday's; a phone has to scroll sideways; or the name of a
# channel puts HTML into the page of an administrator.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Clock;
use Fanout::Nginx;
use Fanout::Tabs;

my $root = "$FindBin::Bin/..";

# what is compiled in is what is in the source

open my $made, '<:raw', "$root/src/status/page.h" or die $!;
my $is = do { local $/; <$made> };

ok($is eq `$^X $root/t/tools/embed -n`,
   'the page that is built in is made of status.html: t/tools/embed');

like(`make -C $root -n page 2>&1`, qr{t/tools/embed}, '"make page" makes it');


my $clock = Fanout::Clock->new;

my $nginx = $clock->start(
    http => <<'END',
        fanout_zone app 2m;
        fanout_zone small 2m;
        fanout_zone hooked 8m;
        fanout_channel app room:* history=100;
        fanout_channel app form:* locks=2h;
        fanout_channel app * history=10;
        fanout_channel small * history=100000;
        map $http_upgrade $refuse { default ''; websocket 1; }
END
    server => <<'END',
        location /fanout/  { fanout_api app; }
        location /small/   { fanout_api small; }
        location /realtime { fanout app; fanout_permit all *; fanout_ping 2h; }
        location = /status { fanout_status app; }
        location = /full   { fanout_status small; }
        location = /hooked { fanout_status hooked; }
        location /asked    { fanout hooked; fanout_permit all *; }
        fanout_hook hooked /hook publish;
        location = /hook   {
            internal;
            if (-f %%DIR%%/down) { return 500; }
            return 204;
        }
        location = /polled {
            if ($refuse) { return 403; }
            fanout_status app;
        }
        location = /denied { fanout_status app; deny all; }
        location = /secret {
            fanout_status app;
            auth_basic status;
            auth_basic_user_file %%DIR%%/users;
        }
END
    allow => [ qr/access forbidden by rule/, qr/no user\/password/, qr/fanout_hook "/ ],
);

open my $users, '>', $nginx->dir . '/users' or die $!;
print $users "ann:{PLAIN}secret\n";
close $users;

my $http = $nginx->http;
my $tabs = Fanout::Tabs->start;
my $evil = $ENV{TEST_SCREENSHOTS} ? 'room:support'
                                  : 'room:<img src=x onerror=alert(1)>';


sub status { $http->get('/status' . ($_[0] || ''))->json }

sub shot {
    my ($tab, $name) = @_;

    $tabs->screenshot($tab, "$ENV{TEST_SCREENSHOTS}/status-$name.png", 1)
        if $ENV{TEST_SCREENSHOTS};
}

sub publish {
    my ($channel, $n) = @_;

    $channel =~ s/([^\w:.-])/sprintf '%%%02X', ord $1/ge;

    my $last;
    $last = $http->post("/fanout/channels/$channel/messages", '{"text":"hello there"}')->json
        for 1 .. $n;

    return $last->{offset};
}


# WebSocket, as the page does

subtest 'live' => sub {
    my $ws = $nginx->ws(path => '/status');

    my $first = Fanout::JSON::decode($ws->recv_text);

    is($first->{zone}{name}, 'app', 'the status comes at once');
    ok($first->{busiest}, 'with channels by traffic');

    publish('room:live', 3);

    my $next = Fanout::JSON::decode($ws->recv_text);

    is($next->{counters}{api_published}, $first->{counters}{api_published} + 3,
       'and again, with what has changed');
    ok((grep { $_->{name} eq 'room:live' && $_->{messages} == 3 }
             @{ $next->{busiest}{channels} }), 'the channel is there');

    my ($w) = grep { $_->{pid} == $next->{pid} } @{ $next->{workers} };

    is($next->{worker}{sessions}, 0, 'who watches is no session');

    $ws->send_text('{}');
    1 while defined $ws->recv_text;
    is($ws->close_code, 1008, 'it takes no messages');

    my $denied = eval { $nginx->ws(path => '/denied') };
    ok(!$denied, 'deny is for it as well') or diag($denied);
    ok(!eval { $nginx->ws(path => '/secret') }, 'and auth_basic');
    ok(!eval { $nginx->ws(path => '/status', headers => { Origin => 'http://evil.example' }) },
       'no other origin may watch');

    ok(wait_for(sub { !grep { $_->{watchers} } @{ status()->{workers} } }),
       'nobody watches any more');
};


subtest 'headers' => sub {
    for my $ask ([ '/status?format=html' ],
                 [ '/status', headers => { Accept => 'text/html,application/xhtml+xml,'
                                                     . 'application/xml;q=0.9,*/*;q=0.8' } ])
    {
        my $r = $http->get(@$ask);

        is($r->{status}, 200);
        is($r->{headers}{'content-type'}, 'text/html; charset=utf-8', 'type');
        is($r->{headers}{'cache-control'}, 'no-store', 'not cached');
        like($r->{headers}{'content-security-policy'}, qr/default-src 'none';/, 'CSP');
        unlike($r->{headers}{'content-security-policy'}, qr/unsafe/, 'nothing unsafe');
        unlike($r->{body}, qr{(?:src|href)="(?:https?:)?//}, 'it is self-contained');
    }
};


# the beginning

$tabs->open('empty', $nginx->uri('/status?format=html'), width => 1440, height => 900);

ok($tabs->wait('empty', '#mode', 'Live'), 'live');
ok($tabs->wait('empty', '#verdict', 'Nothing is wrong'), 'nothing is wrong');
ok($tabs->wait('empty', '#zone-name', 'app'), 'the zone');

shot('empty', 'empty');
is_deeply($tabs->errors('empty'), [], 'nothing in the console');
$tabs->close('empty');


# an hour of life

my @clients = map { $nginx->native(path => '/realtime') } 1 .. 24;

$_->ok('join', channel => 'room:lobby') for @clients;
$_->ok('join', channel => $evil) for @clients[ 0 .. 8 ];
$_->ok('join', channel => "orders") for @clients[ 4 .. 10 ];

# one has a lock, and two wait for it

my @form = map { $nginx->native(path => '/realtime') } 1 .. 3;

for my $client (@form) {
    $client->ok('join', channel => 'form:1');
    $client->send_cmd('lock', channel => 'form:1', name => 'title', ttl => 7_200_000,
                      $client == $form[0] ? () : (wait => 300_000));
    $client->ok('ping');
}

my $samples = $ENV{TEST_SCREENSHOTS} ? 356 : 12;
my $began   = status()->{history}{samples};

for my $i (1 .. $samples) {
    my $day = 5 + 4 * sin($i / 37) + 2 * sin($i / 11) + rand 2;

    publish($evil, $day > 6 ? 2 : 1) if $i % 2;
    $clients[3]->ok('publish', channel => 'orders', data => { n => $_ })
        for 1 .. 2 + 3 * rand;
    publish("user:" . int rand 40, 1);

    if ($i % 5 == 0) {
        (pop @clients)->close if $i % 2 == 0;
        unshift @clients, $nginx->native(path => '/realtime');
        $clients[0]->ok('join', channel => 'room:lobby');
        $clients[0]->ok('join', channel => 'orders') if $i % 10 == 0;
        $clients[0]->ok('join', channel => $evil) if $i % 15 == 0;
    }

    # all have read what there is before time goes on

    my $last = publish('room:lobby', 2 + int abs $day);

    for my $client (@clients) {
        $client->next_where(sub { ($_[0]{channel} || '') eq 'room:lobby'
                                  && ($_[0]{offset} || 0) >= $last }, 1)
            or diag("a client has missed room:lobby $last");
        $client->drain;
    }

    my $had = status()->{history}{samples};
    $clock->forward(10_000);
    wait_for(sub { status()->{history}{samples} > $had }) or last;
}

my $s = status('?history=1&busiest=1');

cmp_ok($s->{history}{samples} - $began, '>=', $samples, 'samples are taken');
is(scalar @{ $s->{history}{time} }, $s->{history}{samples}, 'all are there');

is(scalar(grep { @{ $s->{history}{series}{$_} } != @{ $s->{history}{time} } }
               keys %{ $s->{history}{series} }), 0, 'of each series');
is(scalar(grep { $s->{history}{time}[$_] <= $s->{history}{time}[$_ - 1] }
               1 .. $#{ $s->{history}{time} }), 0, 'in order');

my $told = 0;
$told += $s->{history}{series}{api_published}[$_]
         * ($s->{history}{time}[$_] - $s->{history}{time}[$_ - 1]) / 1000
    for 1 .. $#{ $s->{history}{time} };

my $published = $s->{counters}{api_published};

cmp_ok($told, '>', 0.5 * $published, "rates are those of the counters: $told of $published");
cmp_ok($told, '<', 1.2 * $published, 'about');
is($s->{history}{series}{channels}[-1], $s->{zone}{channels}, 'so are gauges');
is(join(' ', map { $s->{history}{series}{$_}[1] } qw( locks lock_waiters )), '1 2',
   'locks, and who waits for them');


# the page: numbers are those of the JSON

my ($tiles) = map {
    "[...document.querySelectorAll('#tile-$_ .n, #tile-$_ .unit')]"
    . ".map((e) => e.textContent).join('')"
} 'X';

sub tile {
    my ($tab, $name) = @_;

    return $tabs->evaluate($tab, $tiles =~ s/X/$name/gr);
}

for my $width (1440, 768, 360) {
    for my $scheme (qw( light dark )) {
        my $tab = "$width $scheme";

        $tabs->open($tab, $nginx->uri('/status?format=html'), width => $width,
                    height => 900, scheme => $scheme);

        ok($tabs->wait($tab, '#mode', 'Live'), "$tab: live");
        ok($tabs->wait($tab, '#busiest .name', 'room:lobby'), "$tab: busiest channel");
        ok($tabs->wait($tab, '#plots .legend b', '/s'), "$tab: history is there at once");

        is($tabs->evaluate($tab, 'Math.max(document.body.scrollWidth,
                                  document.documentElement.scrollWidth)'),
           $width, "$tab: nothing to scroll sideways");

        # a few seconds of it for the sparklines

        if ($ENV{TEST_SCREENSHOTS}) {
            for (1 .. 20) {
                publish('room:lobby', 1);
                publish($evil, 1) if rand() < 0.3;
                $clients[3]->ok('publish', channel => 'orders', data => 'x') if rand() < 0.6;
                $_->drain for @clients;
                select undef, undef, undef, 0.4 + rand 0.3;
            }
        }

        shot($tab, "$width-$scheme");
    }
}

my $back = 'getComputedStyle(document.body).backgroundColor';

isnt($tabs->evaluate('360 light', $back), $tabs->evaluate('360 dark', $back),
     'light and dark are different');

$s = status();

my $sessions = 0;
$sessions += $_->{sessions} for @{ $s->{workers} };

is(tile('360 light', 'sessions'), $sessions, 'sessions');
is(tile('360 light', 'channels'), $s->{zone}{channels}, 'channels');

my $used = 100 * (1 - $s->{zone}{free} / $s->{zone}{blocks});
cmp_ok(abs(tile('1440 dark', 'used') =~ s/%//r - $used), '<', 1, 'zone in use');

is_deeply([ sort @{ $tabs->evaluate('1440 light',
               "[...document.querySelectorAll('#workers td:first-child')]"
               . ".map((e) => e.textContent)") } ],
          [ sort map { "$_->{pid}" } @{ $s->{workers} } ], 'workers');

like($tabs->evaluate('1440 light',
         "[...document.querySelectorAll('#plots .plot')]"
         . ".map((e) => e.textContent).find((s) => s.startsWith('Locks'))"),
     qr/^Locks.*held.*waiters/, 'locks have a plot');

$tabs->click('1440 light', '#counters-more summary');

my %shown = @{ $tabs->evaluate('1440 light',
    "[...document.querySelectorAll('#counters dt, #counters dd span')]"
    . ".map((e) => e.textContent)") };

is_deeply([ sort keys %shown ], [ sort keys %{ $s->{counters} } ], 'every counter');
is($shown{api_published} =~ s/,//gr, $s->{counters}{api_published}, 'and what it says');

ok($tabs->wait('1440 light', '#busiest .name', $evil), 'a name is text');
is($tabs->evaluate('1440 light', 'document.querySelectorAll("img").length'), 0,
   'never HTML');


# live

my $before = $s->{counters}{api_published};

publish('room:lobby', 7);

ok($tabs->wait('1440 light', '#counters div:has(dt:text-is("api_published")) dd span',
               ($before + 7) =~ s/(\d)(?=(\d{3})+$)/$1,/gr), 'what is published shows');


# what is wrong

is(scalar(grep { $http->post('/small/channels/x/messages', '"' . 'x' x 3000 . '"')
                      ->{status} == 201 } 1 .. 520), 520, 'a zone is filled');

$tabs->open('full', $nginx->uri('/full?format=html'), width => 360, height => 800);

ok($tabs->wait('full', '#verdict .warn', '% full'), 'a full zone is told');
shot('full', 'full');


# a backend that fails, and gets well

open my $down, '>', $nginx->dir . '/down' or die $!;
close $down;

my $asked = $nginx->native(path => '/asked');

$tabs->open('hooked', $nginx->uri('/hooked?format=html'), width => 1000, height => 800);

ok($tabs->wait('hooked', '#verdict .good', 'Nothing is wrong'), 'before anything was asked');
is($asked->cmd('publish', channel => 'a', data => 1)->{error}{code}, 'hook_failed',
   'a publish fails');
ok($tabs->wait('hooked', '#verdict .bad', 'The backend fails'), 'the page says so');
is($tabs->evaluate('hooked', 'document.querySelectorAll("#verdict .good").length'), 0,
   'and not that nothing is wrong');
shot('hooked', 'hooked');

$tabs->open('later', $nginx->uri('/hooked?format=html'), width => 1000, height => 800);
ok($tabs->wait('later', '#verdict .bad', 'The backend fails'),
   'a page that is opened afterwards as well');

unlink $nginx->dir . '/down' or die $!;
$asked->ok('publish', channel => 'a', data => 1);

for (1 .. 9) {
    my $had = $http->get('/hooked')->json->{history}{samples};
    $clock->forward(10_000);
    wait_for(sub { $http->get('/hooked')->json->{history}{samples} > $had }) or last;
}

ok($tabs->wait('hooked', '#verdict .good', 'Nothing is wrong'), 'it gets well');
is($tabs->evaluate('hooked', 'document.querySelectorAll("#verdict .bad").length'), 0,
   'altogether');


# shares are those of the JSON

{
    my $shares = $http->get('/hooked')->json->{zone}{shares};

    is_deeply([ sort @{ $tabs->evaluate('hooked',
                  "[...document.querySelectorAll('#shares .name > span:first-child')]"
                  . ".map((e) => e.textContent)") } ],
              [ sort keys %$shares ], 'each share is shown');
    like($tabs->evaluate('hooked', "document.querySelector('#shares tbody').textContent"),
         qr/keys.*MB|keys.*KB/, 'with its size');
}


# a network without WebSocket

$tabs->open('polled', $nginx->uri('/polled?format=html'), width => 1000, height => 800);

ok($tabs->wait('polled', '#mode', 'Polling'), 'without WebSocket it polls');
ok($tabs->wait('polled', '#busiest .name', 'room:lobby'), 'channels by traffic as well');

$tabs->click('polled', '#counters-more summary');
publish('room:lobby', 2);

ok($tabs->wait('polled', '#counters div:has(dt:text-is("api_published")) dd span',
               ($before + 9) =~ s/(\d)(?=(\d{3})+$)/$1,/gr), 'and is up to date');


# the server goes away and comes back

$nginx->reload(wait_old => 1);

ok($tabs->wait('360 dark', '#mode', 'Live'), 'live after a reload');

my %pids = map { $_ => 1 } $nginx->worker_pids;

ok(wait_for(sub {
    my @shown = @{ $tabs->evaluate('360 dark',
               "[...document.querySelectorAll('#workers td:first-child')]"
               . ".map((e) => e.textContent)") };
    return @shown == 2 && !grep { !$pids{$_} } @shown;
}), 'with the workers there are now');

is(status()->{history}{samples} >= $samples, 1, 'the hour is still there');

is_deeply($tabs->errors($_), [], "nothing in the console of $_")
    for '1440 light', '1440 dark', '768 light', '360 light', '360 dark', 'full', 'hooked';
