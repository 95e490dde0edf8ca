#!/usr/bin/perl

# The page of the quickstart, in a real Chromium. If this fails, the first thing
# a newcomer sees does not work: two tabs don't hear each other, a cut
# connection loses what was said meanwhile, a reload of NGINX is noticed, a
# phone has to scroll sideways, or a message can put HTML into the page.

use strict;
use warnings;

use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;

my $nginx = Fanout::Nginx->start(conf => quickstart());
my $http  = $nginx->http;
my $tabs  = Fanout::Tabs->start;

my $said = '#log .said';


# a tab whose connections are all with one worker

sub open_on {
    my ($worker, $tab) = @_;

    for my $try (1 .. 5) {
        my @others = grep { $_ != $worker } $nginx->worker_pids;

        # one that was stopped inside a lock of the zone holds up all

        $nginx->signal($_, 'STOP') for @others;
        wait_for(sub { !grep { !Fanout::Nginx::halted($_) } @others });
        my $opened = eval {
            $tabs->open($tab, $nginx->uri('/'));
            $tabs->wait($tab, '#state', 'connected');
        };
        $nginx->signal($_, 'CONT') for @others;

        return 1 if $opened;
    }

    return 0;
}


sub say_in {
    my ($tab, $text) = @_;

    $tabs->fill($tab, '#text', $text);
    $tabs->press($tab, '#text', 'Enter');
}


# the status is told by each worker once a second

sub sessions {
    my $status = $http->get('/status')->json;
    my %n = map { $_->{pid} => $_->{sessions} } @{ $status->{workers} };

    return join ' ', map { $n{$_} } @_;
}


my ($one, $two) = $nginx->worker_pids;

ok(open_on($one, 'ann'), 'a tab on one worker connects');
ok(open_on($two, 'bob'), 'a tab on the other connects');

ok(wait_for(sub { sessions($one, $two) eq '1 1' }),
   'each worker has one of the two sessions')
    or diag(sessions($one, $two));

ok($tabs->texts('ann', '#client')->[0] =~ /^c_[0-9a-f]{16}$/,
   'a client id is shown');
isnt($tabs->texts('ann', '#client')->[0], $tabs->texts('bob', '#client')->[0],
     'each tab has its own');


# both ways, and from a shell

say_in('ann', 'hello from ann');

ok($tabs->wait('bob', $said, 'hello from ann'), 'bob sees what ann says');
ok($tabs->wait('ann', '#log .mine .said', 'hello from ann'),
   'ann sees it as hers');

say_in('bob', '<img src=x onerror=alert(1)><b>bold</b>');

ok($tabs->wait('ann', $said, '<img src=x onerror=alert(1)><b>bold</b>'),
   'ann sees what bob says, letter by letter');
is($tabs->evaluate('ann',
       'document.querySelectorAll("#log b, #log img").length'),
   0, 'a message is text, never HTML');

my $curl = $tabs->texts('ann', '#curl')->[0];

like($curl, qr/^curl -d '/, 'a command for the shell is shown');

my $answer = `$curl -sS`;

is($?, 0, 'it runs');
like($answer, qr/"offset":3\b/, 'and is answered by an offset');

ok($tabs->wait($_, $said, 'hello from curl'), "$_ sees what it said")
    for qw( ann bob );

ok($tabs->wait('ann', '#offset', '3'), 'the last offset is shown');
is($tabs->texts('ann', '#epoch')->[0], $tabs->texts('bob', '#epoch')->[0],
   'the epoch is that of the channel');


# a cut

my $client = $tabs->texts('ann', '#client')->[0];

# time stands still, so that it doesn't matter how fast bob types

$tabs->evaluate('ann', 'window.later = window.setTimeout;
    window.setTimeout = (call, ms) => { window.held = { call, ms }; }; 0');
$tabs->click('ann', '#cut');

ok($tabs->wait('ann', '#state', 'cut, back in 3 s'), 'ann is cut');
is($tabs->evaluate('ann', 'held.ms'), 3000, 'for three seconds');

say_in('bob', 'said while cut, 1');
say_in('bob', 'said while cut, 2');

ok($tabs->wait('bob', $said, 'said while cut, 2'), 'bob goes on');
ok(!grep({ /while cut/ } @{ $tabs->texts('ann', $said) }),
   'ann does not hear it yet');

$tabs->evaluate('ann', 'window.setTimeout = later; held.call(); 0');

ok($tabs->wait('ann', '#recovered', 'yes: 2 missed'),
   'back again, ann has recovered 2');
is_deeply($tabs->texts('ann', '#log li:has(.mark) .said'),
          [ 'said while cut, 1', 'said while cut, 2' ],
          'these are there, in order, and marked');
is($tabs->texts('ann', '#client')->[0], "$client (resumed)",
   'ann is who she was');

say_in('bob', 'after the cut');

ok($tabs->wait('ann', $said, 'after the cut'), 'ann hears bob again');


# a reload

$nginx->reload(wait_old => 1);

ok($tabs->wait($_, '#log .note', 'Recovered: 0 missed'), "$_ comes back")
    for qw( ann bob );
ok($tabs->wait('bob', '#client', 'resumed'), 'bob is who he was');

say_in('ann', 'after the reload');

ok($tabs->wait($_, $said, 'after the reload'), "$_ hears ann")
    for qw( ann bob );

is_deeply($tabs->texts('ann', $said), $tabs->texts('bob', $said),
          'both have seen the same messages in the same order');


# another name, and somebody who comes later

$tabs->fill('ann', '#name', 'Ann of Green Gables');
$tabs->press('ann', '#name', 'Enter');

ok($tabs->wait('ann', '#state', 'connected'), 'ann has another name');

say_in('ann', 'who am I?');

ok($tabs->wait('bob', '#log .who', 'Ann of Green Gables'),
   'bob sees her by it');

$tabs->open('cat', $nginx->uri('/'), width => 360, height => 640,
            scheme => 'dark');

ok($tabs->wait('cat', $said, 'who am I?'),
   'who comes later sees what was said');

is_deeply($tabs->texts('cat', $said), $tabs->texts('bob', $said),
          'all of it');


# widths

say_in('cat', 'x' x 300);
$tabs->wait('cat', $said, 'xxx');
$tabs->click('cat', 'summary');

for my $width (360, 768, 1440) {
    $tabs->resize('cat', $width, 800);

    is($tabs->evaluate('cat', 'Math.max(document.body.scrollWidth,
                               document.documentElement.scrollWidth)'),
       $width, "$width pixels are enough");

    $tabs->screenshot('cat', "$ENV{TEST_SCREENSHOTS}/page-$width.png", 1)
        if $ENV{TEST_SCREENSHOTS};
}

$tabs->screenshot('ann', "$ENV{TEST_SCREENSHOTS}/page.png")
    if $ENV{TEST_SCREENSHOTS};

is_deeply($tabs->errors($_), [], "nothing in the console of $_")
    for qw( ann bob cat );
